"""A project whose config file says for how many epochs it trains."""

import lightning as L
from omegaconf import DictConfig
from toy import QUIET, Net, loaders


def main(cfg: DictConfig) -> None:
    L.seed_everything(cfg.seed)
    L.Trainer(max_epochs=cfg.epochs, **QUIET).fit(Net(cfg.lr), *loaders())

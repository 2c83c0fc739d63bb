"""A package in `src` with its configs in it; it may start from a file's weights."""

import hydra
import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig
from torch.utils.data import DataLoader, TensorDataset

from packaged.model import Counting


@hydra.main(config_path="conf", config_name="main", version_base=None)
def main(cfg: DictConfig) -> None:
    L.seed_everything(cfg.seed)
    x = torch.randn(32, 4)
    data = DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), 8, shuffle=True)
    trainer = L.Trainer(
        max_epochs=cfg.epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[ModelCheckpoint(dirpath=cfg.weights, save_last=True)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Counting(cfg.optim.lr), data, data, ckpt_path=cfg.start_from)


if __name__ == "__main__":
    main()

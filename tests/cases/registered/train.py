"""Trains the model that the config names."""

import hydra
import lightning as L
import models  # noqa: F401  # registers its classes
from hydra.utils import instantiate
from toy import QUIET, loaders, note


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    trainer = L.Trainer(max_epochs=1, **QUIET)
    model = instantiate(cfg.model)
    trainer.fit(model, *loaders())
    note(kind=type(model).__name__, width=model.head.in_features, lr=model.lr)


if __name__ == "__main__":
    main()

"""The older package name, `instantiate` everywhere, TensorBoard, a best checkpoint."""

import os
from pathlib import Path

import hydra
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.utils.data import DataLoader, TensorDataset

OmegaConf.register_new_resolver("half", lambda x: x // 2, replace=True)
ROOT = Path(os.environ["PROJECT_ROOT"])  # read at import


class Regressor(pl.LightningModule):
    def __init__(self, hidden, lr, patience):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 1)
        )

    def loss(self, batch):
        x, y = batch
        return torch.nn.functional.mse_loss(self.net(x).squeeze(1), y)

    def training_step(self, batch, index):
        loss = self.loss(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", self.loss(batch), prog_bar=True)

    def test_step(self, batch, index):
        self.log("test_loss", self.loss(batch))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, patience=self.hparams.patience
        )
        scheduler = {"scheduler": plateau, "monitor": "val_loss"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


def loader(batch_size):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(64, 4, generator=generator)
    return DataLoader(TensorDataset(x, x.sum(1)), batch_size=batch_size, shuffle=True)


@hydra.main(version_base="1.2", config_path="configs", config_name="main.yaml")
def main(cfg):
    assert ROOT.is_dir()
    pl.seed_everything(cfg.seed, workers=True)
    model = instantiate(cfg.net)
    callbacks = [instantiate(node) for node in cfg.callbacks.values()]
    logger = instantiate(cfg.logger)
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=logger)
    data = loader(cfg.batch_size)
    trainer.fit(model, data, data)
    trainer.test(model, data, ckpt_path="best", verbose=False)


if __name__ == "__main__":
    main()

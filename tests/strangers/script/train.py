"""A script that has to be started as a program: its globals are set under main."""

import argparse
import sys

import hydra
import lightning as L
import torch
from omegaconf import DictConfig
from torch.utils.data import DataLoader, TensorDataset

ACTIVATION = None


class Net(L.LightningModule):
    def __init__(self, width, lr):
        super().__init__()
        self.lr = lr
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(5, width), ACTIVATION(), torch.nn.Linear(width, 2)
        )

    def training_step(self, batch, _):
        x, y = batch
        loss = torch.nn.functional.cross_entropy(self.layers(x), y)
        self.log("loss/train", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, _):
        x, y = batch
        self.log("acc/val", (self.layers(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> None:
    L.seed_everything(cfg.seed)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 5, generator=generator)
    data = DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), 16, shuffle=True)
    trainer = L.Trainer(
        max_epochs=cfg.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Net(cfg.model.width, cfg.model.lr), data, data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tanh", action="store_true")
    known, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    ACTIVATION = torch.nn.Tanh if known.tanh else torch.nn.ReLU
    main()

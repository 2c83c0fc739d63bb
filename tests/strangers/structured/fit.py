"""Structured configs, two Trainers in one process, no checkpoint of its own."""

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from settings import schema
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import BinaryAccuracy

schema.register()


class Logistic(pl.LightningModule):
    def __init__(self, optim):
        super().__init__()
        self.optim = optim
        self.layer = torch.nn.Linear(6, 1)
        self.accuracy = BinaryAccuracy()

    def training_step(self, batch, index):
        x, y = batch
        out = self.layer(x).squeeze(1)
        return torch.nn.functional.binary_cross_entropy_with_logits(out, y)

    def validation_step(self, batch, index):
        x, y = batch
        self.accuracy(self.layer(x).squeeze(1), y)
        self.log("accuracy", self.accuracy, prog_bar=True)

    test_step = validation_step

    def configure_optimizers(self):
        kind = getattr(torch.optim, self.optim.name)
        decay = self.optim.weight_decay
        return kind(self.parameters(), lr=self.optim.lr, weight_decay=decay)


class Data(pl.LightningDataModule):
    def __init__(self, batch_size):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage):
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(80, 6, generator=generator)
        self.data = TensorDataset(x, (x[:, 0] * x[:, 1] > 0).float())

    def train_dataloader(self):
        return DataLoader(self.data, self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.data, self.batch_size)

    test_dataloader = val_dataloader


def options(folder):
    return {
        "accelerator": "cpu",
        "logger": CSVLogger(folder),
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }


def run(config) -> None:
    pl.seed_everything(config.seed)
    model, data = Logistic(config.optim), Data(config.batch_size)
    average = WeightAveraging()
    trainer = pl.Trainer(
        max_epochs=config.epochs, callbacks=[average], **options("csv_logs")
    )
    trainer.fit(model, data)
    pl.Trainer(**options("csv_logs")).test(model, data, verbose=False)

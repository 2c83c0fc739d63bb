"""The work of one trial: a two-layer MLP on scikit-learn's digits, with Lightning.

Every peer calls `fit`; it leaves what the benchmark checks: a line for each report and
a checkpoint for each epoch.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import hydra
import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from omegaconf import DictConfig
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

WIDTHS = (16, 32, 48, 64)
RATES = (1e-3, 2e-3, 5e-3, 1e-2)
EPOCHS = 2
GRID = tuple((width, rate) for width in WIDTHS for rate in RATES)

Report = Callable[[int, float], None]


class Digits(pl.LightningModule):
    def __init__(self, width: int, learning_rate: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        return nn.functional.cross_entropy(self.net(images), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        images, labels = batch
        self.log("acc", (self.net(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.hparams["learning_rate"])


class Evidence(Callback):
    """Reports each epoch and writes down that it did."""

    def __init__(self, folder: Path, report: Report) -> None:
        self._folder = folder
        self._report = report

    def on_validation_epoch_end(
        self, trainer: pl.Trainer, _: pl.LightningModule
    ) -> None:
        if trainer.sanity_checking:
            return
        epoch = trainer.current_epoch + 1
        value = float(trainer.callback_metrics["acc"])
        with (self._folder / "reports.jsonl").open("a") as file:
            row = {"epoch": epoch, "acc": value, "at": time.time()}
            file.write(json.dumps(row) + "\n")
        self._report(epoch, value)


def fit(folder: Path, *, width: int, rate: float, report: Report | None = None) -> None:
    """Train one trial in `folder`, with one thread."""
    torch.set_num_threads(1)
    pl.seed_everything(42, verbose=False)
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    train = TensorDataset(images[:1500], labels[:1500])
    valid = TensorDataset(images[1500:], labels[1500:])
    saving = ModelCheckpoint(
        dirpath=folder / "kept", filename="{epoch}", save_top_k=-1, every_n_epochs=1
    )
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[saving, Evidence(folder, report or (lambda epoch, value: None))],
    )
    trainer.fit(
        Digits(width, rate),
        DataLoader(train, batch_size=64, shuffle=True),
        DataLoader(valid, batch_size=512),
    )


def train(cfg: DictConfig) -> None:
    """The target of sweeper: Lightning's metrics are its reports."""
    from hydra.core.hydra_config import HydraConfig

    folder = Path(HydraConfig.get().runtime.output_dir)
    fit(folder, width=cfg.width, rate=cfg.learning_rate)


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> None:
    """The same as a Hydra application."""
    train(cfg)


if __name__ == "__main__":
    main()

"""Lightning's callbacks without a logger and without a terminal."""

import csv
import os
import pty
import sys

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from sweeper.vision.callbacks.quiet import QuietLearningRateMonitor, TerminalProgressBar
from tests.vision_callbacks.fitting import fit


def test_the_learning_rate_needs_no_logger(tmp_path):
    trainer = fit([QuietLearningRateMonitor(logging_interval="step")], tmp_path)
    assert trainer.current_epoch == 2


def test_the_learning_rate_is_logged_at_steps(tmp_path):
    monitor = QuietLearningRateMonitor(logging_interval="step")
    logger = CSVLogger(tmp_path, name="", version="")
    fit([monitor], tmp_path, logger=[logger], log_every_n_steps=2)
    with (tmp_path / "metrics.csv").open() as file:
        rates = [row.get("learning_rate/kernels") for row in csv.DictReader(file)]
    assert len([rate for rate in rates if rate]) == 5


def test_the_bar_writes_nothing_into_a_pipe(tmp_path, capfd):
    bar = TerminalProgressBar()
    fit([bar], tmp_path)
    assert bar.is_disabled
    assert capfd.readouterr().out == ""


def test_the_bar_moves_on_a_terminal(monkeypatch):
    leader, follower = pty.openpty()
    bar = TerminalProgressBar()
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    with os.fdopen(follower, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        bar.setup(trainer, LightningModule(), "fit")
    os.close(leader)
    assert bar.is_enabled

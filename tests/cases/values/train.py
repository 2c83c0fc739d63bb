"""Targets whose objective is logged, or returned, in many ways."""

import json
import os
import signal

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset
from toy import QUIET, Net, data, loaders, note

import sweeper

INF, NAN = float("inf"), float("nan")
SERIES = {
    "finite": [0.1, 0.2, 0.3],
    "inf_first": [INF, 0.5, 0.4],
    "minus_inf": [0.5, -INF, 0.45],
    "nan_first": [NAN, 0.5, 0.4],
    "all_inf": [INF, INF, INF],
}


class PerStep(Net):
    """Logs as Lightning does by default in training_step: per step."""

    seen_losses: list

    def training_step(self, batch, batch_idx):
        loss, _ = self.step(batch)
        self.log("loss", loss)
        self.log("both", loss, on_step=True, on_epoch=True)
        with open(sweeper.trial_dir() / "losses.jsonl", "a") as file:
            row = [self.current_epoch, batch_idx, loss.item()]
            file.write(json.dumps(row) + "\n")
        return loss

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.log("late", float(batch_idx))


class Kill(L.Callback):
    """Kills the process once, at a global step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        mark = sweeper.trial_dir() / "cut"
        if trainer.global_step == self.step and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def per_step(cfg):
    torch.manual_seed(0)
    callbacks = [] if cfg.kill_at is None else [Kill(cfg.kill_at)]
    trainer = L.Trainer(max_epochs=cfg.epochs, callbacks=callbacks, **QUIET)
    trainer.fit(PerStep(cfg.lr), loaders()[0])


def other_names(cfg):
    trainer = L.Trainer(max_epochs=cfg.epochs, **QUIET)
    trainer.fit(Net(cfg.lr), *loaders())


def no_validation(cfg):
    trainer = L.Trainer(max_epochs=cfg.epochs, **QUIET)
    trainer.fit(Net(cfg.lr), loaders()[0])


def nothing(cfg):
    return None


def series(cfg):
    for epoch, value in enumerate(SERIES[cfg.kind], 1):
        sweeper.report(epoch, {"loss": value})


class Endless(IterableDataset):
    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        while True:
            x = torch.randn(8, generator=generator)
            yield x, (x[:3].sum() > 0).long()


class Curve(Net):
    def validation_step(self, batch, _):
        self.log("loss", abs(self.global_step - 12) / 12)  # best at step 12


def endless(cfg):
    trainer = L.Trainer(
        max_steps=20, val_check_interval=4, check_val_every_n_epoch=None, **QUIET
    )
    net = Curve(cfg.lr)
    trainer.fit(net, DataLoader(Endless(), 16), DataLoader(data(16, 1), 16))
    note(step=trainer.global_step)


def quarters(cfg):
    """Four validations in each epoch of eight batches."""
    callbacks = [] if cfg.kill_at is None else [Kill(cfg.kill_at)]
    trainer = L.Trainer(
        max_epochs=cfg.epochs, val_check_interval=0.25, callbacks=callbacks, **QUIET
    )
    net = Curve(cfg.lr)
    train = DataLoader(data(128, 0), 16, shuffle=True)
    trainer.fit(net, train, DataLoader(data(16, 1), 16))


RETURNS = {
    "float": lambda lr: lr,
    "tensor": lambda lr: torch.tensor(lr),
    "numpy": lambda lr: np.float64(lr),
    "mapping": lambda lr: {"loss": lr},
    "text": lambda lr: "0.1",
    "two": lambda lr: (lr, lr),
}


def returns(cfg):
    return RETURNS[cfg.kind](cfg.lr)


class Shared(PerStep):
    """Logs one name in training, per step, and in validation."""

    def validation_step(self, batch, batch_idx):
        self.log("loss", 100.0 + self.current_epoch)


def shared_name(cfg):
    trainer = L.Trainer(max_epochs=cfg.epochs, check_val_every_n_epoch=2, **QUIET)
    trainer.fit(Shared(cfg.lr), *loaders())


def exits(cfg):
    raise SystemExit(0)

"""A fit with scripted values and the ModelCheckpoint of one style.

The accuracy is best in epoch 2 of 5, the loss in epoch 4.
"""

import json

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from toy import QUIET, DieOnce, Net, digest, loaders

import sweeper

ACC = [0.5, 0.9, 0.6, 0.7, 0.6, 0.3, 0.95]
LOSS = [1.0, 0.9, 0.8, 0.1, 0.7, 0.9, 0.9]
TOP = {"monitor": "val/acc", "mode": "max"}
LOW = {"monitor": "val/loss", "mode": "min"}

STYLES = {
    "template": [{"dirpath": "out", "filename": "epoch_{epoch:03d}", **TOP}],
    "default": [{}],
    "every_epoch": [{"save_top_k": -1}],
    "top_three": [{"save_top_k": 3, **TOP}],
    "slash": [{"dirpath": "out", "filename": "{epoch}-{val/acc:.3f}", **TOP}],
    "other_metric": [{"filename": "best", **LOW}],
    "two": [
        {"dirpath": "ckpt/loss", "filename": "best", **LOW},
        {"dirpath": "ckpt/acc", "filename": "best", "save_last": True, **TOP},
    ],
    "two_in_one": [
        {"dirpath": "ckpt", "filename": "best", **LOW},
        {"dirpath": "ckpt", "filename": "best", **TOP},
    ],
    "every_second": [{"every_n_epochs": 2, "save_top_k": -1}],
    "last_only": [{"save_top_k": 0, "save_last": True}],
    "link": [{"save_last": "link", **TOP}],
    "after_training": [{"save_on_train_epoch_end": True, **TOP}],
    "after_validation": [{"save_on_train_epoch_end": False, **TOP}],
    "weights_only": [{"save_weights_only": True, **TOP}],
    "steps": [{"every_n_train_steps": 4, "save_top_k": -1}],
    "half": [{"save_top_k": -1, "monitor": "val/acc"}],
    "none": [],
    "logged": [TOP],
    "end": [],
}


class Scripted(Net):
    def validation_step(self, batch, _):
        share = (
            1 if self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch else 2
        )
        self.log("val/acc", ACC[self.current_epoch] / share)
        self.log("val/loss", LOSS[self.current_epoch])


class Note(L.Callback):
    """Notes the digest of the weights at the end of each validation."""

    def on_validation_end(self, trainer, module):
        if trainer.sanity_checking:
            return
        row = {
            "epoch": trainer.global_step // trainer.val_check_batch,  # of the journal
            "step": trainer.global_step,
            "value": float(trainer.callback_metrics["val/acc"]),
            "weights": digest(module),
        }
        with (sweeper.trial_dir() / "weights.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def main(cfg):
    more = {"val_check_interval": 0.5} if cfg.style == "half" else {}
    if cfg.style == "logged":
        more["logger"] = CSVLogger("logs")
    savers = [ModelCheckpoint(**style) for style in STYLES[cfg.style]]
    callbacks = [*savers, Note(), DieOnce(3)]
    settings = {**QUIET, "enable_checkpointing": bool(savers), **more}
    trainer = L.Trainer(max_epochs=cfg.epochs, callbacks=callbacks, **settings)
    trainer.fit(Scripted(cfg.lr), *loaders())
    if cfg.style == "end":
        trainer.save_checkpoint("final.ckpt")
        trainer.save_checkpoint(sweeper.trial_dir() / "final.ckpt")

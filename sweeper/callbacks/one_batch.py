"""Changes of a preflight to each Trainer: one batch of each loader, on the CPU.

It looks for errors of the project and its data, which are the same on every device.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from sweeper.callbacks import trainer_setup
from sweeper.errors import TargetError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
ON_CPU = {
    **{"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto"},
    **{"precision": "32-true", "plugins": None, "sync_batchnorm": False},
}


def use_cpu() -> None:
    """Have every Trainer of this process train on the CPU, whatever it asks for."""
    for package in PACKAGES:
        if package in sys.modules:
            _patch(importlib.import_module(package).Trainer)


def _patch(trainer_class: Any) -> None:
    begin = trainer_class.__init__

    def patched(self: Any, *args: Any, **kwargs: Any) -> None:
        refusal = trainer_setup.refusal(kwargs)
        if refusal:
            raise TargetError(refusal)
        begin(self, *args, **{**kwargs, **ON_CPU})

    trainer_class.__init__ = patched


def limit_batches(trainer: "Trainer", number: int) -> None:
    """Have each epoch take `number` batches of each loader, validation included."""
    for split in ("train", "val", "test", "predict"):
        setattr(trainer, f"limit_{split}_batches", number)
    trainer.num_sanity_val_steps = 0
    trainer.val_check_interval = 1.0
    trainer.check_val_every_n_epoch = 1

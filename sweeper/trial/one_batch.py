"""Changes to the Trainers of a process that only tries a target: one batch, on the CPU.

They serve errors and sizes of the project, which are the same on every device.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sweeper.system.errors import TargetError
from sweeper.trial import trainer_setup

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
ON_CPU = {
    **{"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto"},
    **{"precision": "32-true", "plugins": None, "sync_batchnorm": False},
}
Settings = Mapping[str, Any]


def refuse_processes(settings: Settings) -> Settings:
    """Change nothing, but refuse a Trainer that trains in several processes.

    Raises:
        TargetError: it does.
    """
    if refusal := trainer_setup.refusal(settings):
        raise TargetError(refusal)
    return {}


def use_cpu(change: Callable[[Settings], Settings] = refuse_processes) -> list[Any]:
    """Have every Trainer of this process train on the CPU, whatever it asks for.

    Args:
        change: returns further settings for those that a Trainer is made with.

    Returns:
        The classes of Trainers that were patched.
    """
    names = [name for name in PACKAGES if name in sys.modules]
    classes: list[Any] = [importlib.import_module(name).Trainer for name in names]
    for trainer_class in classes:
        _patch(trainer_class, change)
    return classes


def _patch(trainer_class: Any, change: Callable[[Settings], Settings]) -> None:
    begin = trainer_class.__init__

    def patched(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **{**kwargs, **ON_CPU, **change(kwargs)})

    trainer_class.__init__ = patched


def limit_batches(trainer: "Trainer", number: int) -> None:
    """Have each epoch take `number` batches of each loader, validation included."""
    for split in ("train", "val", "test", "predict"):
        setattr(trainer, f"limit_{split}_batches", number)
    trainer.num_sanity_val_steps = 0
    trainer.val_check_interval = 1.0
    trainer.check_val_every_n_epoch = 1

"""Which Trainers train in several processes, which a trial cannot.

A trial is one process: what another process trains is not reported, and its state is
not in the checkpoint that a trial resumes from.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sweeper.callbacks import ActiveTrial
from sweeper.errors import TargetError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

# Parts of the names of strategies that start processes or split a model even on one
# device.
NEVER = ("spawn", "fork", "notebook", "fsdp", "deepspeed", "modelparallel", "xla")


def refuse(trainer: "Trainer", trial: ActiveTrial) -> None:
    """End the trial where its Trainer would train in several processes.

    Raises:
        TargetError: every trial of the sweep would meet it.
    """
    strategy = trainer.strategy
    name = getattr(type(strategy), "strategy_name", "") or type(strategy).__name__
    launcher = type(strategy.launcher).__name__
    environment = getattr(strategy, "cluster_environment", None)
    world = 1 if environment is None else environment.world_size()
    number = max(trainer.num_devices * trainer.num_nodes, world)
    is_started = launcher in ("_MultiProcessingLauncher", "_XLALauncher")
    if number > 1 or is_started or _is_never(type(strategy).__name__):
        trial.reject(TargetError(message(name, number)))


def wanted(settings: Mapping[str, Any]) -> str:
    """Return why a Trainer of these arguments is refused on any machine; "" if not.

    >>> wanted({"strategy": "ddp", "devices": 1}), wanted({"devices": "auto"})
    ('', '')
    >>> wanted({"strategy": "ddp", "devices": 2})[:46]
    "Trainer: strategy 'ddp' on 2 devices trains in"
    """
    strategy = settings.get("strategy", "auto")
    name = strategy if isinstance(strategy, str) else type(strategy).__name__
    number = _count(settings.get("devices")) * (settings.get("num_nodes") or 1)
    return message(name, number) if number > 1 or _is_never(name) else ""


def _count(devices: object) -> int:
    """Return a number of devices; 1 where the machine decides."""
    if isinstance(devices, str):
        ids = [part for part in devices.split(",") if part.strip()]
        if len(ids) != 1 or "," in devices:
            return len(ids)
        return int(devices) if devices.strip().isdecimal() else 1
    if isinstance(devices, int):
        return max(1, devices)
    return len(devices) if hasattr(devices, "__len__") else 1


def _is_never(name: str) -> bool:
    plain = name.lower().replace("_", "")
    return any(part in plain for part in NEVER)


def message(strategy: str, number: int) -> str:
    """Return the refusal of a Trainer."""
    devices = "1 device" if number == 1 else f"{number} devices"
    return (
        f"Trainer: strategy {strategy!r} on {devices} trains in several processes; a "
        "trial trains in one; set devices=1, num_nodes=1 and strategy=auto, and "
        "`resources.gpus: 1` or less, so that trials run side by side instead"
    )

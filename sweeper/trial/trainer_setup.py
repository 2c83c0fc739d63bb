"""Changes to each Trainer of a trial as soon as it is made.

All trials share one working directory: with a relative `save_dir` two of them at a
time would write the same `version_0`, so loggers are moved into the trial's folder. A
trial is one process: what another process trains is not reported, and its state is not
in the checkpoint that a trial resumes from, so such a Trainer is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.system.errors import TargetError
from sweeper.trial import active_trial
from sweeper.trial.compat import lightning as compat

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import Logger

# Parts of the names of strategies that start processes or split a model even on one
# device.
NEVER = ("spawn", "fork", "notebook", "fsdp", "deepspeed", "modelparallel", "xla")


def set_up(package: str) -> None:
    """Have every Trainer of this process refused or moved into the trial's folder.

    It loads the trial's own checkpoints whole; files from elsewhere as ever.

    Args:
        package: "lightning.pytorch" or "pytorch_lightning".
    """

    def check(trainer: "Trainer") -> None:
        trial = active_trial.active()
        if trial is not None:
            refuse_parallel(trainer, trial)
            for logger in trainer.loggers:
                move(logger, trial.paths.folder)

    def is_trusted(path: object) -> bool:
        trial = active_trial.active()
        parents = Path(str(path)).absolute().parents
        return trial is not None and trial.paths.folder in parents

    compat.after_loggers(package, check)
    compat.trust_checkpoints(package, is_trusted)


def move(logger: "Logger", folder: Path) -> None:
    """Point a logger that writes elsewhere into `folder`, before it has written."""
    for name in compat.LOGGER_FOLDERS:
        path = vars(logger).get(name)
        if isinstance(path, str | Path) and "://" not in str(path):
            setattr(logger, name, str(inside(Path(path), folder)))


def inside(path: Path, folder: Path) -> Path:
    """Return the same path below `folder`; a path that is there already stays.

    >>> inside(Path("logs/csv"), Path("/sweeps/a"))
    PosixPath('/sweeps/a/logs/csv')
    >>> inside(Path("/home/me/logs"), Path("/sweeps/a"))
    PosixPath('/sweeps/a/logs')
    """
    absolute = path.absolute()
    if absolute == folder or folder in absolute.parents:
        return path
    if path.is_absolute():
        below = absolute == Path.cwd() or Path.cwd() in absolute.parents
        path = absolute.relative_to(Path.cwd()) if below else Path(absolute.name)
    return folder.joinpath(*(part for part in path.parts if part != ".."))


def refuse_parallel(trainer: "Trainer", trial: active_trial.ActiveTrial) -> None:
    """End the trial if its Trainer would train in several processes.

    Raises:
        TargetError: every trial of the sweep would meet it.
    """
    strategy = trainer.strategy
    name = getattr(type(strategy), "strategy_name", "") or type(strategy).__name__
    environment = getattr(strategy, "cluster_environment", None)
    world = 1 if environment is None else environment.world_size()
    number = max(trainer.num_devices * trainer.num_nodes, world)
    is_never = _is_never(type(strategy).__name__)
    if number > 1 or is_never or compat.starts_processes(strategy):
        trial.reject(TargetError(message(name, number)))


def refusal(settings: Mapping[str, Any]) -> str:
    """Return why a Trainer of these arguments is refused on any machine; "" if not.

    >>> refusal({"strategy": "ddp", "devices": 1}), refusal({"devices": "auto"})
    ('', '')
    >>> refusal({"strategy": "ddp", "devices": 2})[:46]
    "Trainer: strategy 'ddp' on 2 devices trains in"
    """
    strategy = settings.get("strategy", "auto")
    name = strategy if isinstance(strategy, str) else type(strategy).__name__
    number = _count(settings.get("devices")) * (settings.get("num_nodes") or 1)
    return message(name, number) if number > 1 or _is_never(name) else ""


def _count(devices: object) -> int:
    """Return a number of devices; 1 if the machine decides."""
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

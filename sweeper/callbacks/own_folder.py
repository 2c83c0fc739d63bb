"""A trial's folder as the place of the project's own files.

All trials share one working directory: with a relative `save_dir` two of them at a
time would write the same `version_0`. What lies in the folder is the trial's own, so
it is loaded with all that it holds.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper import callbacks
from sweeper.callbacks import parallel

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

FOLDERS = ("_root_dir", "_save_dir")  # of Lightning's loggers that write files


def keep_loggers_inside(package: str) -> None:
    """Have every Trainer of this process move its loggers' folders.

    One that would train in several processes is refused here: it is the first call
    that has the whole Trainer, before anything is started.

    Args:
        package: "lightning.pytorch" or "pytorch_lightning".
    """
    connector = importlib.import_module(
        f"{package}.trainer.connectors.logger_connector.logger_connector"
    )._LoggerConnector
    if hasattr(connector, "_sweeper_original"):
        return
    original = connector.configure_logger

    def configure(self: Any, logger: Any) -> None:
        original(self, logger)
        trial = callbacks.active()
        if trial is not None:
            parallel.refuse(self.trainer, trial)
            for made in self.trainer.loggers:
                move(made, trial.paths.folder)

    connector._sweeper_original = original
    connector.configure_logger = configure


def trust_own_checkpoints(package: str) -> None:
    """Have every Trainer of this process load the trial's own checkpoints whole.

    torch 2.6 and later refuse a module among the hyperparameters, which would fail
    `trainer.test(ckpt_path="best")`. Files from elsewhere stay refused.
    """
    connector = importlib.import_module(
        f"{package}.trainer.connectors.checkpoint_connector"
    )._CheckpointConnector
    if hasattr(connector, "_sweeper_resume_start"):
        return
    original = connector.resume_start

    def resume_start(
        self: Any, checkpoint_path: Any = None, weights_only: bool | None = None
    ) -> None:
        trial = callbacks.active()
        if weights_only is None and trial is not None and checkpoint_path:
            folder = trial.paths.folder
            if folder in Path(str(checkpoint_path)).absolute().parents:
                weights_only = False
        original(self, checkpoint_path, weights_only=weights_only)

    connector._sweeper_resume_start = original
    connector.resume_start = resume_start


def move(logger: "Logger", folder: Path) -> None:
    """Point a logger that writes elsewhere into `folder`, before it has written."""
    held = vars(logger)
    for name in FOLDERS:
        given = held.get(name)
        if isinstance(given, str | Path) and "://" not in str(given):
            held[name] = str(inside(Path(given), folder))


def inside(path: Path, folder: Path) -> Path:
    """The same path below `folder`; a path that is there already stays.

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

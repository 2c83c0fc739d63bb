"""The checkpoint files of a trial: resume checkpoints and the project's own.

The two newest resume checkpoints of each fit are kept, so that one is whole whatever
is killed. Each file that is saved is recorded with the epoch whose weights it holds.
"""

from __future__ import annotations

import logging
import os
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.system import disk, saved_files
from sweeper.system.paths import TrialPaths, atomic_write
from sweeper.system.saved_files import Position
from sweeper.trial.active_trial import ActiveTrial
from sweeper.trial.compat.lightning import CHECKPOINT_MEMORY
from sweeper.trial.libraries import torch

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

log = logging.getLogger(__name__)

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
DAMAGE = (
    *(zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError),
    *(struct.error, zlib.error),
)


def stage(content: Mapping[str, object], folder: Path) -> Path:
    """Write `content` to a temporary file and sync it; `commit` makes it the newest."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{LAST}.{os.getpid()}.tmp"

    def write_it() -> None:
        torch.save(dict(content), temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())

    disk.patiently(write_it, folder=folder, scrap=temporary)
    return temporary


def write(content: Mapping[str, object], path: Path) -> None:
    """Replace `path` by `content`, whole or not at all."""
    atomic_write(path, lambda temporary: torch.save(dict(content), temporary))


def read(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint of ours, on the CPU."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
    return content


def commit(staged: Path) -> None:
    """Make a staged file last.ckpt; the one before it becomes previous.ckpt."""
    last = staged.with_name(LAST)
    if last.exists():
        last.replace(staged.with_name(PREVIOUS))
    staged.replace(last)


def commit_recorded(staged: Path, paths: TrialPaths, position: Position) -> None:
    """Commit a staged file and record which epoch's state it is."""
    last, previous = staged.with_name(LAST), staged.with_name(PREVIOUS)
    saved_files.begin(paths, last, previous)
    commit(staged)
    saved_files.end_rotation(paths, last, position, moved_to=previous)


def newest(folder: Path) -> Path | None:
    """Return the newest checkpoint that is whole, None if there is none.

    A disk that lost data can leave a torn file in spite of the rename.
    """
    for path in (folder / LAST, folder / PREVIOUS):
        if path.exists():
            if is_whole(path):
                return path
            log.warning("%s is damaged; resuming from the one before it", path)
    return None


def is_whole(path: Path) -> bool:
    """Return whether every byte of a torch checkpoint is there and as written."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except DAMAGE:
        return False


# ---- the record of saved files


def position(trainer: Trainer, trial: ActiveTrial) -> Position:
    """Return where in the training a Trainer is: fit, optimizer steps, batches done.

    Equal positions mean equal weights. The batches tell an epoch without any step, as
    StochasticWeightAveraging adds one, from the epoch before it.
    """
    batches = trainer.fit_loop.epoch_loop.batch_progress.total.ready
    return trial.progress.fit, trainer.global_step, batches


def record_saves(trainer: Trainer, trial: ActiveTrial) -> None:
    """Record each file that a Trainer saves and each report of the trial from now on.

    Every way to save calls `Trainer.save_checkpoint`: a ModelCheckpoint, a project's
    own callback, a call after the fit.
    """

    def on_epoch(epoch: int) -> None:
        if trainer.is_global_zero:
            saved_files.report(trial.paths, epoch, position(trainer, trial))

    trial.on_epoch = on_epoch
    if "save_checkpoint" in vars(trainer):
        return  # a second fit of one Trainer
    original = trainer.save_checkpoint

    def save_checkpoint(filepath: Any, *args: Any, **kwargs: Any) -> None:
        path = Path(filepath).absolute()
        is_recorded = trial.paths.folder in path.parents and trainer.is_global_zero
        if is_recorded:
            saved_files.begin(trial.paths, path)
        original(filepath, *args, **kwargs)
        if is_recorded:
            value = trainer.callback_metrics.get(trial.spec.metric)
            is_measured = trainer.validating and value is not None
            saved_files.end(
                trial.paths,
                path,
                position(trainer, trial),
                value=float(value) if is_measured else None,  # type: ignore[arg-type]  # not None
            )

    trainer.save_checkpoint = save_checkpoint  # type: ignore[method-assign]  # wraps it


# ---- the project's own checkpoints


def keep_inside(trainer: Trainer, paths: TrialPaths) -> None:
    """Point every ModelCheckpoint that writes elsewhere to the trial's folder.

    With a relative `dirpath` two trials in one working directory would share files,
    and the second would resume from the first one's weights. The folder that Lightning
    chooses has a number that grows with each start; a new start would forget the best
    value.
    """
    elsewhere: dict[Any, Path] = {}
    for callback in trainer.checkpoint_callbacks:
        dirpath = getattr(callback, "dirpath", None)
        if dirpath is None:
            continue
        folder = Path(dirpath).absolute()
        if folder == _default_folder(trainer):
            callback.dirpath = str(paths.checkpoints)  # type: ignore[attr-defined]  # has one
        elif paths.folder not in folder.parents:
            elsewhere[callback] = folder
    inside = folders(elsewhere.values(), paths.checkpoints)
    for callback, folder in elsewhere.items():
        callback.dirpath = str(inside[folder])


def folders(outside: Iterable[Path], root: Path) -> dict[Path, Path]:
    """Return a folder in `root` for each folder outside: a single one gets `root`.

    Several keep the parts in which they differ, or files of one name would collide.

    >>> folders([Path("/a/out")], Path("/t"))
    {PosixPath('/a/out'): PosixPath('/t')}
    >>> sorted(folders([Path("/a/loss"), Path("/a/acc")], Path("/t")).values())
    [PosixPath('/t/acc'), PosixPath('/t/loss')]
    """
    distinct = dict.fromkeys(outside)
    common = os.path.commonpath(distinct) if distinct else ""
    return {folder: root / folder.relative_to(common) for folder in distinct}


def _default_folder(trainer: Trainer) -> Path:
    """Return the folder that Lightning chooses for a ModelCheckpoint without one."""
    folder = trainer.default_root_dir
    if trainer.loggers:
        logger = trainer.loggers[0]
        version = logger.version
        name = version if isinstance(version, str) else f"version_{version}"
        folder = os.path.join(logger.save_dir or folder, str(logger.name), name)
    return Path(folder, "checkpoints").absolute()


def memory(callbacks: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """Return what ModelCheckpoints remember but do not save, by `state_key`."""
    return {
        callback.state_key: {name: vars(callback)[name] for name in CHECKPOINT_MEMORY}
        for callback in callbacks
        if vars(callback).keys() >= set(CHECKPOINT_MEMORY)
    }


def restore_memory(
    callbacks: Iterable[Any], saved: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put back what `memory` returned: else the last file is saved twice at an end."""
    for callback in callbacks:
        vars(callback).update(saved.get(callback.state_key, {}))


def relocate(node: Any, *, old: str, new: str) -> Any:
    """Return the same tree with every path in the folder `old` as one in `new`.

    A ModelCheckpoint whose folder was moved would forget its best value.

    >>> relocate({"/a/b/x.ckpt": ("/a/bc", 1)}, old="/a/b", new="/c")
    {'/c/x.ckpt': ('/a/bc', 1)}
    """
    if isinstance(node, dict):
        return {
            relocate(key, old=old, new=new): relocate(value, old=old, new=new)
            for key, value in node.items()
        }
    if type(node) in (list, tuple):
        return type(node)(relocate(item, old=old, new=new) for item in node)
    if isinstance(node, str) and (node == old or node.startswith(old + os.sep)):
        return new + node[len(old) :]
    return node


def names(paths: TrialPaths) -> list[str]:
    """Return the project's checkpoint files, relative to the trial's folder."""
    return [_name(path, paths) for path in saved_files.checkpoints(paths)]


def forget_redone(paths: TrialPaths, known: Collection[str]) -> None:
    """Remove checkpoints of a killed process that this one writes again.

    A ModelCheckpoint would keep them, and write `best-v1.ckpt` beside `best.ckpt`.

    Args:
        paths: files of the trial.
        known: what `names` returned as the resumed state was saved.
    """
    for path in saved_files.checkpoints(paths):
        if _name(path, paths) not in known and is_older(path, paths):
            path.unlink()


def _name(path: Path, paths: TrialPaths) -> str:
    return os.path.relpath(path, paths.folder)


def is_older(path: Path, paths: TrialPaths) -> bool:
    """Return whether a file was written before this attempt of the trial began."""
    return path.lstat().st_mtime < paths.spec.stat().st_mtime

"""Which checkpoint files a fit reads and writes: the trial's own and no other's."""

import importlib
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.callbacks import averaging, finders
from sweeper.callbacks.fits import Fit
from sweeper.callbacks.loop_state import KEY
from sweeper.host import saved_files
from sweeper.host.paths import TrialPaths

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


REMEMBERED = (
    "current_score",
    "_last_checkpoint_saved",
    "_last_global_step_saved",
    "_defer_save_until_validation",
)


def keep_inside(trainer: "Trainer", paths: TrialPaths) -> None:
    """Point every ModelCheckpoint that writes elsewhere to the trial's folder.

    With a relative `dirpath` two trials in one working directory would share files,
    and the second would go on from the first one's weights. Lightning's own choice
    of a folder has a number that each start counts up; a new start would forget the
    best value.
    """
    elsewhere = {}
    for callback in trainer.checkpoint_callbacks:
        dirpath = getattr(callback, "dirpath", None)
        if dirpath is None:
            continue
        place = Path(dirpath).absolute()
        if place == _default_folder(trainer):
            callback.dirpath = str(paths.checkpoints)  # type: ignore[attr-defined]  # has one
        elif paths.folder not in place.parents:
            elsewhere[callback] = place
    inside = folders(elsewhere.values(), paths.checkpoints)
    for callback, place in elsewhere.items():
        callback.dirpath = str(inside[place])  # type: ignore[attr-defined]  # has one


def folders(outside: Iterable[Path], root: Path) -> dict[Path, Path]:
    """Return a folder in `root` for each folder outside: one alone gets `root` itself.

    Several keep what tells them apart, or files of one name would collide.

    >>> folders([Path("/a/out")], Path("/t"))
    {PosixPath('/a/out'): PosixPath('/t')}
    >>> sorted(folders([Path("/a/loss"), Path("/a/acc")], Path("/t")).values())
    [PosixPath('/t/acc'), PosixPath('/t/loss')]
    """
    places = dict.fromkeys(outside)
    common = os.path.commonpath(places) if places else ""
    return {place: root / place.relative_to(common) for place in places}


def _default_folder(trainer: "Trainer") -> Path:
    """Return the folder that Lightning chooses for a ModelCheckpoint without one."""
    folder = trainer.default_root_dir
    if trainer.loggers:
        logger = trainer.loggers[0]
        version = logger.version
        name = version if isinstance(version, str) else f"version_{version}"
        folder = os.path.join(logger.save_dir or folder, str(logger.name), name)
    return Path(folder, "checkpoints").absolute()


def memory(callbacks: Iterable[object]) -> dict[str, dict[str, Any]]:
    """What a ModelCheckpoint remembers but does not save, by the callback's key."""
    return {
        getattr(callback, "state_key", ""): {
            name: vars(callback)[name] for name in REMEMBERED
        }
        for callback in callbacks
        if vars(callback).keys() >= set(REMEMBERED)
    }


def remember(
    callbacks: Iterable[object], saved: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put back what `memory` took: else it saves its last file at an end once more."""
    for callback in callbacks:
        vars(callback).update(saved.get(getattr(callback, "state_key", ""), {}))


def relocate(node: Any, *, old: str, new: str) -> Any:
    """The same tree with every path in the folder `old` as one in `new`.

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


def forget_redone(paths: TrialPaths, known: Collection[str]) -> None:
    """Remove checkpoints that a killed process wrote and that this one writes again.

    A ModelCheckpoint would keep them, and write `best-v1.ckpt` beside `best.ckpt`.

    Args:
        paths: of the trial.
        known: `names` when the resumed state was saved.
    """
    for path in saved_files.checkpoints(paths):
        if _name(path, paths) not in known and _is_older(path, paths):
            path.unlink()


def names(paths: TrialPaths) -> list[str]:
    """Return the project's checkpoint files, relative to the folder of checkpoints."""
    return [_name(path, paths) for path in saved_files.checkpoints(paths)]


def _name(path: Path, paths: TrialPaths) -> str:
    return os.path.relpath(path, paths.checkpoints)


def _is_older(path: Path, paths: TrialPaths) -> bool:
    """Whether `path` was written before this attempt of the trial began."""
    return path.lstat().st_mtime < paths.spec.stat().st_mtime


def resume_from_ours(package: str) -> None:
    """Have each `fit` of this process resume from the trial's own checkpoint of it.

    `fit(ckpt_path=...)` is resolved before any hook runs.
    """
    connector = importlib.import_module(
        f"{package}.trainer.connectors.checkpoint_connector"
    )._CheckpointConnector
    if hasattr(connector, "_sweeper_original"):
        return
    original = connector._select_ckpt_path

    def select(
        self: Any, state_fn: Any, ckpt_path: Any, *args: Any, **kwargs: Any
    ) -> Any:
        callbacks = self.trainer.callbacks
        ours = [c for c in callbacks if c.state_key == KEY]
        if not ours or state_fn.value != "fit" or finders.is_search(callbacks):
            return original(self, state_fn, ckpt_path, *args, **kwargs)
        fit = ours[0].begin_fit(self.trainer)
        found = fit.checkpoint()
        if found is not None:
            return str(averaging.before_pass(self.trainer, found))
        if ckpt_path is None or (ckpt_path == "last" and fit.number == 1):
            return None
        path = original(self, state_fn, ckpt_path, *args, **kwargs)
        return path if _is_start(path, fit, is_last=ckpt_path == "last") else None

    connector._sweeper_original = original
    connector._select_ckpt_path = select


def _is_start(path: object, fit: Fit, *, is_last: bool) -> bool:
    """Return whether a fit without a checkpoint of ours may start from a file.

    The first fit's "last" would be another trial's. What an earlier attempt of the same
    fit left in the trial's folder is of its first epoch, which is done again.
    """
    paths = fit.trial.paths
    file = Path(str(path)).absolute()
    if path is None or paths.folder not in file.parents:
        return path is not None and not is_last
    is_before = str(file.relative_to(paths.folder)) in fit.files_before()
    return is_before or not (file.exists() and _is_older(file, paths))


def is_of(parent: TrialPaths | None, path: object) -> bool:
    """Whether a checkpoint is the one of the parent."""
    return parent is not None and parent.resume in Path(str(path)).parents

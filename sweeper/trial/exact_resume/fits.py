"""The fits of one trial, in the order in which its target calls them.

The first fit has the resume folder itself, each later one a folder in it. A finished
fit is loaded and not trained again; one that trains further than its checkpoint makes
the fits after it void, since they may have started from its weights.
"""

import json
import logging
import shutil
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.system.errors import TargetError
from sweeper.system.paths import write_text
from sweeper.trial import values
from sweeper.trial.active_trial import ActiveTrial
from sweeper.trial.compat import lightning as compat
from sweeper.trial.exact_resume import checkpoint_files, searches
from sweeper.trial.exact_resume.loop_state import KEY

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

log = logging.getLogger(__name__)

BEGUN = "begun.json"  # the start of a fit in the first attempt that reached it


@dataclass(frozen=True, slots=True)
class Fit:
    """One fit of a trial.

    Attributes:
        number: position among the fits of the trial's process, from 1.
    """

    trial: ActiveTrial
    number: int

    @property
    def folder(self) -> Path:
        """Return the folder of its resume checkpoints."""
        return self.trial.paths.fit(self.number)

    def checkpoint(self) -> Path | None:
        """Return the checkpoint that it resumes from, the parent's if it has none.

        Raises:
            TargetError: the trial is a child and its parent's checkpoint is gone.
        """
        own = checkpoint_files.newest(self.folder)
        paths, parent = self.trial.paths, self.trial.parent
        earlier = (checkpoint_files.newest(paths.fit(n)) for n in range(1, self.number))
        if own is not None or parent is None or any(earlier):
            return own
        inherited = checkpoint_files.newest(parent.fit(self.number))
        if inherited is None and self.number == 1:
            raise TargetError(
                f"{parent.resume}: there is no checkpoint of the parent to start from; "
                "run the sweep again under another name"
            )
        return inherited

    def begin(self, born: int) -> None:
        """Record the start of the fit, once: its weights, the checkpoint files."""
        if (self.folder / BEGUN).exists():
            return
        paths = self.trial.paths
        files = [
            str(path.relative_to(paths.folder))
            for path in sorted(paths.folder.rglob("*.ckpt"))
            if self.number > 1 and paths.resume not in path.parents
        ]
        write_text(self.folder / BEGUN, json.dumps({"born": born, "files": files}))

    @property
    def begun(self) -> Mapping[str, Any]:
        """Return what `begin` recorded; {} if the fit never began."""
        path = self.folder / BEGUN
        text = path.read_text(encoding="utf-8") if path.exists() else "{}"
        recorded: Mapping[str, Any] = json.loads(text)
        return recorded

    def files_before(self) -> Collection[str]:
        """Return the checkpoint files that were there when it first began."""
        files: Collection[str] = self.begun.get("files", ())
        return files

    def is_finished(self, *, max_epochs: int) -> bool:
        """Return whether it would only be loaded, and not train on to `max_epochs`."""
        newest = checkpoint_files.newest(self.folder)
        if newest is None:
            return False
        content = checkpoint_files.read(newest)
        return bool(content[KEY]["is_end"]) and max_epochs <= content["epoch"]

    def void_later(self) -> None:
        """Remove the states of later fits before this one saves."""
        for folder in self.trial.paths.resume.glob("fit-*"):
            if int(folder.name.removeprefix("fit-")) > self.number:
                shutil.rmtree(folder)


def begin(trial: ActiveTrial, trainer: "Trainer") -> Fit:
    """Count one more fit of this process and return it.

    The first weights of its module identify a fit if the target has skipped one before
    it that it knows to be finished.
    """
    weights = trainer.lightning_module.state_dict()
    born = zlib.crc32(repr(values.fingerprint(weights, ())).encode())
    fit = Fit(trial, trial.progress.fit + 1)
    if fit.begun.get("born", born) != born:
        last = len(trial.paths.fits)
        later = [Fit(trial, number) for number in range(fit.number + 1, last + 1)]
        same = [other for other in later if other.begun.get("born") == born]
        if len(same) == 1:
            fit = same[0]
        elif fit.is_finished(max_epochs=trainer.max_epochs or -1):
            log.warning(
                "resume: fit %d begins from other weights than in the attempt that "
                "finished it, so it is taken for a new one; call fits in one order",
                fit.number,
            )
            fit = Fit(trial, last + 1)
    is_skipping = fit.number > trial.progress.fit + 1
    before = trial.paths.fit(fit.number - 1) if is_skipping else None
    newest = None if before is None else checkpoint_files.newest(before)
    if newest is not None:
        content = checkpoint_files.read(newest)
        trial.progress.epochs = content[KEY]["epochs_before"] + content["epoch"]
        trial.progress.steps = content[KEY]["steps_before"] + content["global_step"]
    trial.progress.fit = fit.number
    fit.begin(born)
    return fit


def resume_each(package: str) -> None:
    """Have each `fit` of this process resume from the trial's own checkpoint of it.

    Args:
        package: "lightning.pytorch" or "pytorch_lightning".
    """

    def choose(
        default: Callable[[], Any], trainer: Any, function: str, ckpt_path: object
    ) -> Any:
        ours = [c for c in trainer.callbacks if c.state_key == KEY]
        if not ours or function != "fit" or searches.is_search(trainer.callbacks):
            return default()
        fit: Fit = ours[0].begin_fit(trainer)
        resumed = fit.checkpoint()
        if resumed is not None:
            return str(searches.before_pass(trainer, resumed))
        if ckpt_path is None or (ckpt_path == "last" and fit.number == 1):
            return None
        path = default()
        return path if _is_start(path, fit, is_last=ckpt_path == "last") else None

    compat.choose_checkpoint(package, choose)


def _is_start(path: object, fit: Fit, *, is_last: bool) -> bool:
    """Return whether a fit without a checkpoint of ours may start from a file.

    The first fit's "last" would be another trial's. A file that an earlier attempt of
    the same fit left in the trial's folder is of its first epoch, which runs again.
    """
    paths = fit.trial.paths
    file = Path(str(path)).absolute()
    if path is None or paths.folder not in file.parents:
        return path is not None and not is_last
    is_before = str(file.relative_to(paths.folder)) in fit.files_before()
    is_redone = file.exists() and checkpoint_files.is_older(file, paths)
    return is_before or not is_redone

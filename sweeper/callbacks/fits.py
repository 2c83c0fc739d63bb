"""Resume folders of the fits of one trial, in the order in which its target calls them.

The first fit has the resume folder itself, each later one a folder in it. A fit that is
finished is loaded and not trained again; one that trains further than its checkpoint
makes the fits after it void, since they may have started from its weights.
"""

import json
import logging
import os
import shutil
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sweeper.callbacks import ActiveTrial, snapshot, values
from sweeper.callbacks.loop_state import KEY
from sweeper.errors import TargetError
from sweeper.host.paths import TrialPaths, write_text

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

log = logging.getLogger(__name__)

BEGUN = "begun.json"  # what a fit began with in the first attempt that reached it


@dataclass(frozen=True, slots=True)
class Fit:
    """One fit of a trial.

    Attributes:
        number: its place among the fits of the trial's process, from 1.
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
        own = snapshot.newest(self.folder)
        parent = self.trial.parent
        if own is not None or parent is None or self._has_trained_before():
            return own
        inherited = snapshot.newest(parent.fit(self.number))
        if inherited is None and self.number == 1:
            raise TargetError(
                f"{parent.resume}: there is no checkpoint of the parent to start from; "
                "start the sweep anew under another name"
            )
        return inherited

    def _has_trained_before(self) -> bool:
        """Return whether the child itself has trained in an earlier fit."""
        paths = self.trial.paths
        return any(snapshot.newest(paths.fit(n)) for n in range(1, self.number))

    def begin(self, born: int) -> None:
        """Note how the fit first began: its weights, the files that were there."""
        if not (self.folder / BEGUN).exists():
            files = _files(self.trial.paths) if self.number > 1 else []
            begun = {"born": born, "files": files}
            write_text(self.folder / BEGUN, json.dumps(begun))

    @property
    def begun(self) -> Mapping[str, Any]:
        """Return what `begin` noted; {} if the fit never began."""
        path = self.folder / BEGUN
        text = path.read_text(encoding="utf-8") if path.exists() else "{}"
        noted: Mapping[str, Any] = json.loads(text)
        return noted

    def files_before(self) -> Collection[str]:
        """Return the checkpoint files that were there when it first began."""
        files: Collection[str] = self.begun.get("files", ())
        return files

    def is_finished(self, *, max_epochs: int) -> bool:
        """Return whether it would be loaded only, and not train on to `max_epochs`."""
        newest = snapshot.newest(self.folder)
        if newest is None:
            return False
        content = torch.load(newest, map_location="cpu", weights_only=False)
        return bool(content[KEY]["is_end"]) and max_epochs <= content["epoch"]

    def own_files(self) -> Collection[str]:
        """Return those files relative to the folder of checkpoints."""
        paths = self.trial.paths
        files = (paths.folder / name for name in self.files_before())
        return [os.path.relpath(file, paths.checkpoints) for file in files]

    def void_later(self) -> None:
        """Remove the states of the fits after this one, which is about to save."""
        for folder in self.trial.paths.resume.glob("fit-*"):
            if int(folder.name.removeprefix("fit-")) > self.number:
                shutil.rmtree(folder)


def begin(trial: ActiveTrial, trainer: "Trainer") -> Fit:
    """Count one more fit of this process and return it.

    The first weights of its module tell fits apart if the target has skipped one that
    it knows to be finished.
    """
    weights = trainer.lightning_module.state_dict()
    born = zlib.crc32(repr(values.fingerprint(weights, ())).encode())
    fit = Fit(trial, trial.progress.fit + 1)
    if fit.begun.get("born", born) != born:
        last = len(trial.paths.fits)
        others = [Fit(trial, number) for number in range(fit.number + 1, last + 1)]
        same = [other for other in others if other.begun.get("born") == born]
        if len(same) == 1:
            fit = same[0]
        elif fit.is_finished(max_epochs=trainer.max_epochs or -1):
            log.warning(
                "resume: fit %d begins from other weights than in the attempt that "
                "finished it, so it is taken for a new one; call fits in one order",
                fit.number,
            )
            fit = Fit(trial, last + 1)
    skipped = fit.number > trial.progress.fit + 1
    before = snapshot.newest(trial.paths.fit(fit.number - 1)) if skipped else None
    if before is not None:
        content = torch.load(before, map_location="cpu", weights_only=False)
        trial.progress.epochs = content[KEY]["epochs_before"] + content["epoch"]
        trial.progress.steps = content[KEY]["steps_before"] + content["global_step"]
    trial.progress.fit = fit.number
    fit.begin(born)
    return fit


def _files(paths: TrialPaths) -> list[str]:
    return sorted(
        str(path.relative_to(paths.folder))
        for path in paths.folder.rglob("*.ckpt")
        if paths.resume not in path.parents
    )

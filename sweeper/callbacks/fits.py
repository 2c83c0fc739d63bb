"""Resume folders of the fits of one trial, in the order in which its target calls them.

The first fit has the resume folder itself, each later one a folder in it. A fit that is
finished is loaded and not trained again; one that trains further than its checkpoint
makes the fits after it void, since they may have started from its weights.
"""

import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from sweeper.callbacks import ActiveTrial, snapshot
from sweeper.errors import TargetError
from sweeper.host.paths import TrialPaths, write_text

BEGUN = "begun.json"  # the trial's checkpoint files as a later fit first began


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

    def begin(self) -> None:
        """Note which checkpoint files are there before a later fit writes its own."""
        if self.number > 1 and not (self.folder / BEGUN).exists():
            write_text(self.folder / BEGUN, json.dumps(_files(self.trial.paths)))

    def files_before(self) -> Collection[str]:
        """Return the checkpoint files that were there when it first began."""
        begun = self.folder / BEGUN
        if not begun.exists():
            return ()
        names: list[str] = json.loads(begun.read_text(encoding="utf-8"))
        return names

    def own_files(self) -> Collection[str]:
        """Return the names of those files that are in the folder of checkpoints."""
        folder = self.trial.paths.checkpoints.name
        paths = map(Path, self.files_before())
        return [path.name for path in paths if str(path.parent) == folder]

    def void_later(self) -> None:
        """Remove the states of the fits after this one, which is about to save."""
        for folder in self.trial.paths.resume.glob("fit-*"):
            if int(folder.name.removeprefix("fit-")) > self.number:
                shutil.rmtree(folder)


def begin(trial: ActiveTrial) -> Fit:
    """Count one more fit of this process and return it."""
    trial.progress.fit += 1
    fit = Fit(trial, trial.progress.fit)
    fit.begin()
    return fit


def _files(paths: TrialPaths) -> list[str]:
    return sorted(
        str(path.relative_to(paths.folder))
        for path in paths.folder.rglob("*.ckpt")
        if paths.resume not in path.parents
    )

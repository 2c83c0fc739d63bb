"""Every path of a sweep and of a trial, and the one way to replace a file.

It knows names and renames; it never reads what the files mean.
"""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeper.host import disk

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrialPaths:
    """The files of one trial; the folder's name is the trial's id."""

    folder: Path

    @property
    def config(self) -> Path:
        """The composed and resolved config of the trial."""
        return self.folder / "config.yaml"

    @property
    def spec(self) -> Path:
        """The `TrialSpec` that started the trial, as JSON."""
        return self.folder / "spec.json"

    @property
    def lock(self) -> Path:
        """Held by the trial's process for its life."""
        return self.folder / ".lock"

    @property
    def started(self) -> Path:
        """The time of the trial's first start, which `${now:...}` tells."""
        return self.folder / ".started"

    @property
    def multirun(self) -> Path:
        """Hydra's `sweep.dir`, one for all trials; only a project writes there."""
        above = self.folder.parent
        return (above.parent if above.name == "trials" else above) / "multirun"

    @property
    def checkpoints(self) -> Path:
        """Folder of every checkpoint."""
        return self.folder / "checkpoints"

    @property
    def resume(self) -> Path:
        """Folder of the checkpoints that a new start goes on from.

        The project's own ModelCheckpoint may write a last.ckpt beside it.
        """
        return self.checkpoints / "resume"

    def fit(self, number: int) -> Path:
        """Return the folder of the resume checkpoints of a fit, counted from 1."""
        return self.resume if number == 1 else self.resume / f"fit-{number}"

    @property
    def fits(self) -> tuple[Path, ...]:
        """Folders of the resume checkpoints of all fits, in their order."""
        later = self.resume.glob("fit-*")
        numbers = sorted(int(path.name.removeprefix("fit-")) for path in later)
        return (self.resume, *map(self.fit, numbers))

    @property
    def last(self) -> Path:
        """The checkpoint of the newest fit that a new start resumes from."""
        files = [folder / "last.ckpt" for folder in self.fits]
        return next((file for file in reversed(files) if file.exists()), files[0])

    @property
    def best(self) -> Path:
        """The file name that the packaged config gives its best checkpoint.

        `storage.handed_out` knows the best checkpoint of any project.
        """
        return self.checkpoints / "best.ckpt"

    @property
    def saved(self) -> Path:
        """The record of the checkpoint files that the Trainer has saved."""
        return self.folder / "saved.jsonl"

    @property
    def metrics(self) -> Path:
        """Every logged scalar, one JSON object a line."""
        return self.folder / "metrics.jsonl"

    @property
    def result(self) -> Path:
        """The journal's row of the trial, once it has ended."""
        return self.folder / "result.json"

    @property
    def correctness(self) -> Path:
        """The correctness of each validation example at the best epoch."""
        return self.folder / "correctness.json"

    @property
    def log(self) -> Path:
        """Standard output and error of the trial's process."""
        return self.folder / "log.txt"

    @property
    def error(self) -> Path:
        """Traceback of the last failure."""
        return self.folder / "error.txt"

    @property
    def artifacts(self) -> Path:
        """Pictures and exported models."""
        return self.folder / "artifacts"


@dataclass(frozen=True, slots=True)
class SweepPaths:
    """The files of one sweep; the folder's name is the sweep's name."""

    folder: Path

    @property
    def experiment(self) -> Path:
        """Copy of the experiment file that runs."""
        return self.folder / "experiment.yaml"

    @property
    def journal(self) -> Path:
        """Optuna's journal: one JSON record a line."""
        return self.folder / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """Held by the driver; holds its pid, host and start time as JSON."""
        return self.folder / "driver.lock"

    @property
    def journal_lock(self) -> Path:
        """Held by the process that writes the journal."""
        return self.folder / ".journal.lock"

    @property
    def log(self) -> Path:
        """One line an event of all drivers of this sweep."""
        return self.folder / "driver.log"

    @property
    def stop_request(self) -> Path:
        """Made by `sweeper stop`; the driver pauses its trials and leaves."""
        return self.folder / ".stop"

    @property
    def trials(self) -> Path:
        """Folder of the trials' folders."""
        return self.folder / "trials"

    @property
    def memory(self) -> Path:
        """Derived: the predicted memory of its trials, by key, as JSON."""
        return self.folder / "memory.json"

    @property
    def preflight(self) -> Path:
        """Derived: which choices trained a batch before the first trial, as JSON."""
        return self.folder / "preflight.json"

    @property
    def preflight_errors(self) -> Path:
        """Tracebacks of the choices that did not."""
        return self.folder / "preflight.txt"

    @property
    def leaderboard_csv(self) -> Path:
        """Derived: the leaderboard as CSV."""
        return self.folder / "leaderboard.csv"

    @property
    def leaderboard_md(self) -> Path:
        """Derived: the leaderboard as Markdown."""
        return self.folder / "leaderboard.md"

    @property
    def report(self) -> Path:
        """Derived: the whole sweep as one HTML file."""
        return self.folder / "report.html"

    def trial(self, trial_id: str) -> TrialPaths:
        """The files of one trial of this sweep."""
        return TrialPaths(self.trials / trial_id)


def atomic_write(path: Path, write: Callable[[Path], None]) -> None:
    """Replace `path` by what `write` makes, whole or not at all, even under SIGKILL.

    The temporary file lies in the same folder (rename(2) is atomic only within one
    file system) and is synced first: after a power cut the new name has its content.
    A full disk is waited for.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def replace() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)

    disk.patiently(replace, folder=path.parent, scrap=temporary)


def write_text(path: Path, text: str) -> None:
    """Replace a text file, whole or not at all."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    atomic_write(path, write)


def drop_torn_tail(path: Path) -> int:
    """Cut a file of lines back to its last newline; how many bytes went.

    Only by its one writer: what follows the last newline may still be on its way.
    """
    if not path.exists():
        return 0
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole == len(data):
        return 0
    with path.open("rb+") as file:
        file.truncate(whole)
    log.info("%s: dropped a torn record of %d bytes", path, len(data) - whole)
    return len(data) - whole


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and its folders, while others may remove some."""
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def remove_stale_temporaries(folder: Path) -> None:
    """Remove what a killed `atomic_write` left in `folder` itself."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def project_root(file: Path) -> Path:
    """The nearest folder above `file` with a pyproject.toml or .git, else the cwd."""
    for folder in Path(os.path.abspath(file)).parents:  # without ".."
        if (folder / "pyproject.toml").exists() or (folder / ".git").exists():
            return folder
    return Path.cwd()


def default_sweeps(file: Path | None = None) -> Path:
    """Return the folder of all sweeps: $SWEEPER_SWEEPS, else `sweeps` of the project.

    Args:
        file: of the project, an experiment file for one; None where only the working
            directory says which project is meant.
    """
    given = os.environ.get("SWEEPER_SWEEPS")
    root = project_root(file or Path.cwd() / "here")
    return Path(given) if given else root / "sweeps"


def builtin_conf() -> Path:
    """The folder of sweeper's own Hydra configs (search, scheduler, ...)."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def is_packaged(config: Path) -> bool:
    """Return whether a Hydra config is one of sweeper's own."""
    inside = config.resolve().is_relative_to(builtin_conf().resolve())
    return inside or "pkg:/sweeper.conf/" in config.as_posix()

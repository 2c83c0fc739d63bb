"""Paths of sweeps and trials, and atomic replacement of files."""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeper.system import disk

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrialPaths:
    """The files of one trial; the folder's name is the trial's id."""

    folder: Path

    @property
    def config(self) -> Path:
        """Return the file of the trial's composed and resolved config."""
        return self.folder / "config.yaml"

    @property
    def spec(self) -> Path:
        """Return the file of the `TrialSpec` that started the trial, as JSON."""
        return self.folder / "spec.json"

    @property
    def lock(self) -> Path:
        """Return the lock that the trial's process holds while it lives."""
        return self.folder / ".lock"

    @property
    def started(self) -> Path:
        """Return the file with the time of the first start, used by `${now:...}`."""
        return self.folder / ".started"

    @property
    def multirun(self) -> Path:
        """Return Hydra's `sweep.dir`, shared by all trials; only projects use it."""
        above = self.folder.parent
        return (above.parent if above.name == "trials" else above) / "multirun"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def resume(self) -> Path:
        """Return the folder of the resume checkpoints.

        The project's own ModelCheckpoint may write a last.ckpt beside it.
        """
        return self.checkpoints / "resume"

    def fit(self, number: int) -> Path:
        """Return the folder of the resume checkpoints of a fit, counted from 1."""
        return self.resume if number == 1 else self.resume / f"fit-{number}"

    @property
    def fits(self) -> tuple[Path, ...]:
        """Return the folders of the resume checkpoints of all fits, in their order."""
        later = self.resume.glob("fit-*")
        numbers = sorted(int(path.name.removeprefix("fit-")) for path in later)
        return (self.resume, *map(self.fit, numbers))

    @property
    def last(self) -> Path:
        """Return the checkpoint of the newest fit, from which a new start resumes."""
        files = [folder / "last.ckpt" for folder in self.fits]
        return next((file for file in reversed(files) if file.exists()), files[0])

    @property
    def best(self) -> Path:
        """Return the best checkpoint, as the packaged config names it.

        `best_checkpoint.find` finds the best checkpoint of any project.
        """
        return self.checkpoints / "best.ckpt"

    @property
    def saved(self) -> Path:
        """Return the record of the checkpoint files that the Trainer has saved."""
        return self.folder / "saved.jsonl"

    @property
    def metrics(self) -> Path:
        """Return the file of the logged scalars, one JSON object per line."""
        return self.folder / "metrics.jsonl"

    @property
    def result(self) -> Path:
        """Return the file of the trial's row in the journal, written at its end."""
        return self.folder / "result.json"

    @property
    def correctness(self) -> Path:
        """Return the file of the correctness of each example at the best epoch."""
        return self.folder / "correctness.json"

    @property
    def log(self) -> Path:
        """Return the file of the standard output and error of the trial's process."""
        return self.folder / "log.txt"

    @property
    def error(self) -> Path:
        """Return the file of the traceback of the last failure."""
        return self.folder / "error.txt"

    @property
    def artifacts(self) -> Path:
        """Return the folder of pictures and exported models."""
        return self.folder / "artifacts"


@dataclass(frozen=True, slots=True)
class SweepPaths:
    """The files of one sweep; the folder's name is the sweep's name."""

    folder: Path

    @property
    def experiment(self) -> Path:
        """Return the copy of the experiment file."""
        return self.folder / "experiment.yaml"

    @property
    def journal(self) -> Path:
        """Return Optuna's journal, which has one JSON record in each line."""
        return self.folder / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """Return the driver's lock, with its pid, host and start time as JSON."""
        return self.folder / "driver.lock"

    @property
    def journal_lock(self) -> Path:
        """Return the lock of the process that writes the journal."""
        return self.folder / ".journal.lock"

    @property
    def log(self) -> Path:
        """Return the file of the events of all drivers, one per line."""
        return self.folder / "driver.log"

    @property
    def stop_request(self) -> Path:
        """Return the file by which `sweeper stop` requests a pause."""
        return self.folder / ".stop"

    @property
    def trials(self) -> Path:
        return self.folder / "trials"

    @property
    def memory(self) -> Path:
        """Return the derived file of predicted memory, by memory key, as JSON."""
        return self.folder / "memory.json"

    @property
    def preflight(self) -> Path:
        """Return the derived file of the choices that passed the preflight, as JSON."""
        return self.folder / "preflight.json"

    @property
    def preflight_errors(self) -> Path:
        """Return the tracebacks of the choices that failed the preflight."""
        return self.folder / "preflight.txt"

    @property
    def leaderboard_csv(self) -> Path:
        return self.folder / "leaderboard.csv"

    @property
    def leaderboard_md(self) -> Path:
        return self.folder / "leaderboard.md"

    @property
    def report(self) -> Path:
        """Return the derived HTML report of the whole sweep."""
        return self.folder / "report.html"

    def trial(self, trial_id: str) -> TrialPaths:
        return TrialPaths(self.trials / trial_id)


def atomic_write(path: Path, write: Callable[[Path], None]) -> None:
    """Replace `path` by the file that `write` writes, atomically even under SIGKILL.

    The temporary file is in the same folder, since rename(2) is atomic only within one
    file system. It is synced first, so that the new name has its content even after a
    power cut. If the disk is full, the function waits for space.
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
    """Truncate a file of lines after its last newline; return the number of bytes cut.

    Only the single writer of the file may call it. For other processes the last line
    may be a write in progress.
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
    """Yield all files below a folder; other processes may remove some at any time."""
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def remove_stale_temporaries(folder: Path) -> None:
    """Remove temporary files of killed `atomic_write` calls in `folder` itself."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def project_root(file: Path) -> Path:
    """Return the nearest folder above `file` with a pyproject.toml or .git.

    If there is none, return the working directory.
    """
    for folder in Path(os.path.abspath(file)).parents:  # resolves ".."
        if (folder / "pyproject.toml").exists() or (folder / ".git").exists():
            return folder
    return Path.cwd()


def default_sweeps(file: Path | None = None) -> Path:
    """Return the folder of all sweeps: $SWEEPER_SWEEPS, else `sweeps` in the project.

    Args:
        file: a file of the project, such as an experiment file; None for the project
            of the working directory.
    """
    given = os.environ.get("SWEEPER_SWEEPS")
    root = project_root(file or Path.cwd() / "here")
    return Path(given) if given else root / "sweeps"


def builtin_conf() -> Path:
    """Return the folder of sweeper's own Hydra configs (search, scheduler, ...)."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def is_packaged(config: Path) -> bool:
    """Return whether a Hydra config is one of sweeper's own."""
    inside = config.resolve().is_relative_to(builtin_conf().resolve())
    return inside or "pkg:/sweeper.conf/" in config.as_posix()

"""Cards of this machine that another sweep books at the same time.

Each local Ray believes that it has all cards. Sweeps share no ledger, so the second one
can only warn. The note of a driver counts while its lock is held, so the note of a
killed driver is ignored.
"""

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeper.experiment.definition import Experiment
from sweeper.system import locks

FOLDER = ".sweeper-cards"  # below the machine's temporary folder, for all users
WAIT_SECONDS = 5.0  # other drivers hold a lock briefly to test it


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """The cards that one driver hands out to its trials."""

    sweep: str
    pid: int
    cards: tuple[str, ...]


def visible(count: int) -> tuple[str, ...]:
    """Return the cards that a local Ray with `count` GPUs assigns, as CUDA names them.

    >>> visible(0)
    ()
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    return tuple(names[:count] if names else map(str, range(count)))


@contextlib.contextmanager
def book(experiment: Experiment, *, count: int) -> Iterator[tuple[Booking, ...]]:
    """Book the first `count` cards of this machine while the block runs.

    Yields:
        The bookings of other running drivers that share a card with this one.
    """
    cards = visible(count)
    if not cards or experiment.resources.gpus == 0:
        yield ()
        return
    folder = Path(tempfile.gettempdir()) / FOLDER
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o1777)
    mine = folder / f"{os.getpid()}-{secrets.token_hex(4)}.json"
    note = Booking(sweep=experiment.name, pid=os.getpid(), cards=cards)
    mine.write_text(json.dumps(asdict(note)), encoding="utf-8")
    lock = mine.with_suffix(".lock")
    with locks.hold(lock, wait_seconds=WAIT_SECONDS):
        try:
            yield tuple(b for b in _others(folder, mine) if {*b.cards} & {*cards})
        finally:
            mine.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)


def warning(other: Booking) -> str:
    """Return a warning that another sweep has booked the same cards."""
    return (
        f"cards: the sweep {other.sweep!r} (process {other.pid}) books card "
        f"{', '.join(other.cards)} of this machine too, and neither sweep knows of the "
        "other's memory: wait for it, or give each sweep cards of its own with "
        "CUDA_VISIBLE_DEVICES"
    )


def _others(folder: Path, mine: Path) -> Iterator[Booking]:
    for path in sorted(folder.glob("*.json")):
        if path == mine or not locks.is_held(path.with_suffix(".lock")):
            continue
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            yield Booking(
                sweep=str(data["sweep"]),
                pid=int(data["pid"]),
                cards=tuple(map(str, data["cards"])),
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue  # its driver has ended meanwhile

"""A file lock that the kernel releases when its holder dies, even by SIGKILL.

It is flock(2) on an open file, so a leftover file is not locked.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

POLL_SECONDS = 0.05
READERS_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that holds a lock, with its host and start time for the user."""

    pid: int
    host: str
    since: str

    @staticmethod
    def me() -> "Holder":
        """Return the record of this process, with the current time."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Holder(pid=os.getpid(), host=socket.gethostname(), since=now)


@contextmanager
def hold(path: Path, *, wait_seconds: float = 0.0) -> Iterator[Holder | None]:
    """Hold `path` exclusively while the block runs.

    Args:
        path: the lock's file; it is created if missing and never removed, since a
            removed file could be locked twice.
        wait_seconds: longest wait for another holder.

    Yields:
        None if this process has the lock, else the process that holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        if not _take(file.fileno(), wait_seconds):
            yield holder(path) or Holder(pid=0, host="?", since="?")
            return
        file.truncate(0)
        file.write(json.dumps(asdict(Holder.me())))
        file.flush()
        yield None


def _take(descriptor: int, wait_seconds: float) -> bool:
    """Lock a file exclusively; return whether that succeeded in time.

    `is_held` takes a shared lock for an instant. If a shared lock is possible, only
    such readers hold the file, and the wait is short.
    """
    started = time.monotonic()
    while not _try(descriptor):
        is_only_read = _try(descriptor, shared=True)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        limit = max(wait_seconds, READERS_SECONDS if is_only_read else 0.0)
        if time.monotonic() - started >= limit:
            return False
        time.sleep(0.001 if is_only_read else POLL_SECONDS)
    return True


def is_held(path: Path) -> bool:
    """Return whether a living process holds `path`; False if the file is missing."""
    if not path.exists():
        return False
    with path.open("r", encoding="utf-8") as file:
        return not _try(file.fileno(), shared=True)


def holder(path: Path) -> Holder | None:
    """Return the last holder of `path`; None if the file cannot be read or parsed."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _try(descriptor: int, *, shared: bool = False) -> bool:
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

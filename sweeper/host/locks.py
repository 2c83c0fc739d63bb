"""A lock that the kernel drops when its holder dies, however it dies.

flock(2) on an open file: a SIGKILL releases it, a stale file means nothing.
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
    """Who holds a lock: enough for a user to find the process."""

    pid: int
    host: str
    since: str

    @staticmethod
    def me() -> "Holder":
        """This process, now."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Holder(pid=os.getpid(), host=socket.gethostname(), since=now)


@contextmanager
def hold(path: Path, *, wait_seconds: float = 0.0) -> Iterator[Holder | None]:
    """Hold `path` exclusively while the block runs.

    Args:
        path: the lock's file; it is made where missing and never removed, since a
            removed file could be locked twice.
        wait_seconds: how long to wait for another holder.

    Yields:
        None when the lock is held, else the holder that would not let go.
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
    """Lock a file exclusively; return whether that worked in time.

    Only a holder counts as one. `is_held` shares the lock for an instant to look, and
    a file that can still be shared has only such readers.
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
    """Whether a living process holds `path`; False where the file is missing."""
    if not path.exists():
        return False
    with path.open("r", encoding="utf-8") as file:
        return not _try(file.fileno(), shared=True)


def holder(path: Path) -> Holder | None:
    """Who wrote `path` last; None where nothing readable is there."""
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

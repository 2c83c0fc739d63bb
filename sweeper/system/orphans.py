"""Processes that have outlived their driver, found by an environment variable.

Ray's agents outlive a SIGKILL of the driver by minutes. Every process below a driver
inherits a variable with the driver's scratch folder, called its mark. setproctitle
hides the command line of Ray's workers, but not their environment.
"""

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sweeper.system import locks

MARK = "SWEEPER_SCRATCH"
PREFIX = "sweeper-"
OWNER = "owner.lock"
POLL_SECONDS = 0.01
UNKILLABLE_SECONDS = 30.0  # a process that waits for a broken disk cannot be killed


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Create a folder for sockets and Ray's files; remove it at the end of the block.

    Its path is short enough for a socket. Its name does not contain the pid, since
    containers that share the temporary folder may have equal pids. A lock shows
    whether the owner is alive.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    named = folder / f"{OWNER}.new"
    with locks.hold(named):
        named.rename(folder / OWNER)  # it appears with its lock held
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def find(scratch: Path | str, mark: str = MARK) -> list[int]:
    """Return the processes with the mark of `scratch`, except this one."""
    wanted = f"{mark}={scratch}".encode()
    return [pid for pid, marks in _environments() if wanted in marks.split(b"\0")]


def end(scratch: Path, *, grace_seconds: float) -> None:
    """Kill the marked processes; give W&B's writer `grace_seconds` for its file.

    The others are killed at once, since a journal or slot that outlives its driver must
    not record the deaths of trials that died with the driver.
    """
    deadline = time.monotonic() + grace_seconds
    last = deadline + UNKILLABLE_SECONDS
    while (pids := find(scratch)) and time.monotonic() < last:
        for pid in pids:
            if time.monotonic() > deadline or not is_wandb(pid):
                _kill(pid)
        time.sleep(POLL_SECONDS)


def clean() -> None:
    """Kill the processes of dead drivers and remove their scratch folders."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNER}"):
        with contextlib.suppress(OSError):  # of another user, or already removed
            if lock.stat().st_uid == os.getuid() and not locks.is_held(lock):
                end(lock.parent, grace_seconds=0)
                shutil.rmtree(lock.parent, ignore_errors=True)


def _environments() -> Iterator[tuple[int, bytes]]:
    for pid in _processes():
        try:
            yield pid, Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue  # ended, or of another user


def _processes() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            yield int(entry.name)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def children(parent: int) -> list[int]:
    """Return the child processes of a process, as the kernel lists them."""
    files = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(pid) for file in files for pid in file.read_text().split()]


def is_wandb(pid: int) -> bool:
    """Return whether a process is W&B's writer, which exits when its file is saved."""
    try:
        return b"wandb-core" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False

"""Writes that wait while a disk is full or read-only, and then are repeated."""

import contextlib
import errno
import io
import logging
import os
import re
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

log = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
SQLITE_FULL = ("SQLITE_FULL", "SQLITE_READONLY")
# Messages of torch and numpy for a write that failed for any reason.
UNWRITTEN = re.compile(
    r"PytorchStreamWriter failed|inline_container\.cc:\d+\] \. unexpected pos"
    r"|requested and \d+ written"
)
MAX_PATH = 4096
PROBE_BYTES = 64 * 1024
LOW_BYTES = 64 * 1024**2
POLL_SECONDS = 0.5
T = TypeVar("T")


def problem(folder: Path) -> str:
    """Return the reason why `folder`'s disk is full or read-only; "" if it is not."""
    probe = folder / f".probe.{os.getpid()}.tmp"
    try:
        with probe.open("wb") as file:
            file.write(b"\0" * PROBE_BYTES)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return os.strerror(error.errno) if error.errno in FULL else ""
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    return ""


def may_be_full(folder: Path) -> bool:
    """Return whether space is low or the disk read-only, without a write."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    return free < LOW_BYTES or bool(found.f_flag & os.ST_RDONLY)


def is_full(error: BaseException | None) -> bool:
    """Return whether a full or read-only disk caused an error."""
    return any(map(_says_full, _causes(error)))


def _causes(error: BaseException | None) -> list[BaseException]:
    """Return an error and the chain of its causes and contexts, innermost last."""
    found: list[BaseException] = []
    while error is not None and error not in found:  # the chain may be circular
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _says_full(error: BaseException) -> bool:
    is_full = isinstance(error, OSError) and error.errno in FULL
    return is_full or getattr(error, "sqlite_errorname", "").startswith(SQLITE_FULL)


def has_filled(error: BaseException, folder: Path) -> bool:
    """Return whether a full disk of `folder` caused an error in other code.

    Another full disk, such as that of a cache, is no reason to wait for this one. If
    the error does not name its file, the files are taken from the local variables of
    the functions that raised it.
    """
    causes = _causes(error)
    if not any(_says_full(each) or _is_unwritten(each) for each in causes):
        return False
    named = [
        str(name)
        for each in causes
        if isinstance(each, OSError) and each.errno in FULL
        for name in (each.filename, each.filename2)
        if name
    ]
    running = filter(None, map(_open_files, reversed(causes)))
    names = named or next(running, [])
    return any(_is_inside(name, folder) for name in names) or bool(problem(folder))


def _is_unwritten(error: BaseException) -> bool:
    texts = [argument for argument in error.args if isinstance(argument, str)]
    return any(map(UNWRITTEN.search, texts))


def _open_files(error: BaseException) -> list[str]:
    """Return the files in local variables of the innermost function that has any."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        values = list(frame.f_locals.values())
        files = [getattr(v, "name", None) for v in values if isinstance(v, io.IOBase)]
        names = [name for name in files if isinstance(name, str)]
        names = names or [str(v) for v in values if _is_path(v)]
        if names:
            return names
    return []


def _is_path(value: object) -> bool:
    if isinstance(value, str):
        return os.sep in value and "\n" not in value and len(value) < MAX_PATH
    return isinstance(value, Path)


def _is_inside(name: str, folder: Path) -> bool:
    real = Path(os.path.realpath(name))
    return Path(os.path.realpath(folder)) in (real, *real.parents)


def patiently(
    write: Callable[[], T],
    *,
    folder: Path,
    scrap: Path | None = None,
    errors: tuple[type[Exception], ...] = (OSError, RuntimeError),
) -> T:
    """Call `write`, repeat it while the disk is full, and return its result.

    Args:
        write: function that leaves no file but `scrap` behind when it raises.
        folder: the folder that it writes to.
        scrap: a half-written file, removed before the next attempt. The disk is checked
            before, since the removal may free enough space, and torch.save does not
            give the reason of its failure.
        errors: the types that it raises on a full disk, perhaps also for other reasons.
    """
    is_told = False
    while True:
        try:
            return write()
        except errors as error:
            is_told = _await_space(error, folder, scrap=scrap, is_told=is_told)


def _await_space(
    error: Exception, folder: Path, *, scrap: Path | None = None, is_told: bool
) -> bool:
    """Wait a moment if a full disk caused `error`, else raise it; return True."""
    is_disk = is_full(error) or bool(problem(folder))
    if scrap is not None:
        with contextlib.suppress(OSError):
            scrap.unlink()
    if not is_disk:
        raise error
    if not is_told:
        log.warning("%s: %s; waiting for space", folder, _root(error))
    time.sleep(POLL_SECONDS)
    return True


def _root(error: BaseException) -> BaseException:
    """Return the original error, which libraries wrap in vaguer ones."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def made(folder: Path) -> Path:
    """Return the folder if it exists, else the nearest existing one above it."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def wait(folder: Path, tell: Callable[[str], None]) -> None:
    """Wait until `folder` can be written to; pass messages for the user to `tell`."""
    reason = problem(folder)
    if not reason:
        return
    tell(paused(folder, reason))
    while problem(folder):
        time.sleep(POLL_SECONDS)
    tell(RESUMING)


RESUMING = "Disk space available again; resuming."


def paused(folder: Path, reason: str) -> str:
    """Return the message for the user while the disk cannot be written to."""
    return (
        f"Paused: cannot write to {folder} ({reason}). Nothing is lost; free some "
        "space and the sweep resumes by itself."
    )


def append(path: Path, data: bytes) -> None:
    """Append `data` to a file, whole or not at all, and sync it to the disk.

    A kill can still cut off the line, so readers drop a last line without a newline.
    """
    is_told = False
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab", buffering=0) as file:
                size, rest = file.tell(), data
                try:
                    while rest:  # a write may be partial without an error
                        rest = rest[os.write(file.fileno(), rest) :]
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(size)
                    raise
            return
        except OSError as error:
            is_told = _await_space(error, path.parent, is_told=is_told)

"""The two newest resume checkpoints of a trial: written whole, read if whole.

It knows files; what is in them is `saver`'s.
"""

import logging
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch

from sweeper.host import disk
from sweeper.host.paths import atomic_write

log = logging.getLogger(__name__)

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
DAMAGE = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    struct.error,
    zlib.error,
)


def stage(content: Mapping[str, object], folder: Path) -> Path:
    """Write `content` to a temporary file, to the disk; `commit` makes it count."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{LAST}.{os.getpid()}.tmp"

    def write_it() -> None:
        torch.save(dict(content), temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())

    disk.patiently(write_it, folder=folder, scrap=temporary)
    return temporary


def write(content: Mapping[str, object], path: Path) -> None:
    """Replace `path` by `content`, whole or not at all."""
    atomic_write(path, lambda temporary: torch.save(dict(content), temporary))


def commit(staged: Path) -> None:
    """Make a staged file last.ckpt; the one before it becomes previous.ckpt."""
    last = staged.with_name(LAST)
    if last.exists():
        last.replace(staged.with_name(PREVIOUS))
    staged.replace(last)


def newest(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; None for a trial without one.

    A disk that lost data can leave a torn file in spite of the rename.
    """
    for path in (folder / LAST, folder / PREVIOUS):
        if path.exists():
            if is_whole(path):
                return path
            log.warning("%s is damaged; going on from the one before it", path)
    return None


def is_whole(path: Path) -> bool:
    """Whether every byte of a torch checkpoint is there and as it was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except DAMAGE:
        return False

"""The two newest resume checkpoints of a trial: written whole, read if whole.

It knows files; what is in them is `checkpoint`'s.
"""

import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

from sweeper.paths import atomic_write

log = logging.getLogger(__name__)

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"


def save(content: Mapping[str, object], folder: Path) -> None:
    """Write `content` as last.ckpt; the one before it becomes previous.ckpt."""

    def write(temporary: Path) -> None:
        torch.save(dict(content), temporary)
        if (folder / LAST).exists():
            (folder / LAST).replace(folder / PREVIOUS)

    atomic_write(folder / LAST, write)


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
    except (zipfile.BadZipFile, OSError, EOFError, ValueError):
        return False

"""Images decoded once a node: a file of uint8 pixels that all its trainings map.

It never trusts a file that it cannot prove to be of these images: names, contents and
geometry are checked, and what a killed builder left behind counts for nothing.
"""

# N images, C channels, H W pixels

import fcntl
import hashlib
import itertools
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from sweeper.vision.annotations import Row
from sweeper.vision.dataset import ImageFiles
from sweeper.vision.images import PAD_COLOUR

log = logging.getLogger(__name__)

GEOMETRY = f"fit_square bilinear {PAD_COLOUR} 1"  # raise the number to build anew
FOLDER = ".decoded"
DISK_SHARE = 0.25  # of the disk that the data lies on, for one split
CHUNK = 256  # images that are decoded at a time
THREADS = 4


def decoded(
    rows: Sequence[Row],
    *,
    image_size: int,
    folder: Path,
    disk_share: float = DISK_SHARE,
) -> Tensor | None:
    """The images of `rows`, mapped: uint8 (N, 3, H, W); None where there is no room.

    The first process builds the file under a lock while others wait for it. Pages are
    shared by all processes of the node, and are private once one writes to them.

    Args:
        folder: of the data; the file lies in its `.decoded`.
        disk_share: of the whole disk, above which nothing is built.
    """
    shape = (len(rows), 3, image_size, image_size)
    size = len(rows) * 3 * image_size**2
    limit = int(disk_share * shutil.disk_usage(folder).total)
    if size > limit:
        log.warning(
            "%s: %d images of %d px take %.1f GiB decoded, over the limit of %.1f GiB "
            "(data.map_disk_share=%g of the disk); images are read one by one",
            *(folder, len(rows), image_size, size / 2**30, limit / 2**30, disk_share),
        )
        return None
    name = _digest(GEOMETRY, str(image_size), *(str(row.image) for row in rows))
    store = folder / FOLDER
    try:
        store.mkdir(exist_ok=True)
        with _locked(store / f"{name}.lock"):
            _ensure(store / name, rows, image_size=image_size, size=size)
    except OSError as error:
        log.warning("%s: %s; images are read one by one", store, error)
        return None
    path = str(store / f"{name}.u8")
    return torch.from_file(path, shared=False, size=size, dtype=torch.uint8).view(shape)


def _ensure(base: Path, rows: Sequence[Row], *, image_size: int, size: int) -> None:
    """Build the file of `base`, unless it is of these images as they are now."""
    pixels, about = base.with_suffix(".u8"), base.with_suffix(".json")
    known = json.loads(about.read_text()) if about.exists() else {}
    is_whole = pixels.exists() and pixels.stat().st_size == size
    stats = _digest(*map(_stat, rows))
    if is_whole and known.get("stats") == stats:
        return
    contents = _contents(rows)
    if not (is_whole and known.get("contents") == contents):
        about.unlink(missing_ok=True)  # it speaks of other pixels from here on
        _build(pixels, rows, image_size=image_size)
    _replace(about, [json.dumps({"stats": stats, "contents": contents}).encode()])


def _build(pixels: Path, rows: Sequence[Row], *, image_size: int) -> None:
    images = ImageFiles(rows, image_size=image_size)

    def parts() -> Iterator[bytes]:
        places = iter(range(len(rows)))
        bar = tqdm(total=len(rows), desc="decoding", unit="image", disable=None)
        with bar, ThreadPoolExecutor(THREADS) as pool:
            while chunk := list(itertools.islice(places, CHUNK)):
                for image in pool.map(images.__getitem__, chunk):
                    yield image.numpy().tobytes()
                bar.update(len(chunk))

    _replace(pixels, parts())


def _replace(path: Path, parts: Iterator[bytes] | Sequence[bytes]) -> None:
    """Replace a file, whole or not at all; its lock is held, so its name is free."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # of a full disk or a broken image


def _stat(row: Row) -> str:
    """What changes when an image does, without reading it."""
    found = row.image.stat()
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"


def _contents(rows: Sequence[Row]) -> str:
    hashed = hashlib.sha256()
    for row in rows:
        hashed.update(hashlib.sha256(row.image.read_bytes()).digest())
    return hashed.hexdigest()


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the kernel drops when its holder dies."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

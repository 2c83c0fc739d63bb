"""A file of decoded images (uint8 pixels) that all trainings of a node map.

A file is used only if the names, contents and geometry of its images are those that
are asked for. A file that a killed builder left unfinished is not used.
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

GEOMETRY = (
    f"fit_square bilinear {PAD_COLOUR} 1"  # raise the number to build all files again
)
FOLDER = ".decoded"
DISK_SHARE = 0.25  # of the disk that holds the data, for one split
CHUNK = 256  # images decoded at a time
THREADS = 4


def decoded(
    rows: Sequence[Row],
    *,
    image_size: int,
    folder: Path,
    disk_share: float = DISK_SHARE,
) -> Tensor | None:
    """Map the images of `rows`: uint8 (N, 3, H, W); None if they cannot be stored.

    The first process builds the file under a lock while others wait for it. All
    processes of the node share its pages; a process that writes to a page gets a
    private copy.

    Args:
        folder: folder of the data; the file is in its subfolder `.decoded`.
        disk_share: largest share of the whole disk that the file may take.
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
    """Build the file of `base`, unless it holds the current content of these images."""
    pixels, about = base.with_suffix(".u8"), base.with_suffix(".json")
    known = json.loads(about.read_text()) if about.exists() else {}
    is_whole = pixels.exists() and pixels.stat().st_size == size
    stats = _digest(*map(_stat, rows))
    if is_whole and known.get("stats") == stats:
        return
    contents = _contents(rows)
    if not (is_whole and known.get("contents") == contents):
        about.unlink(missing_ok=True)  # it does not describe the pixels that come now
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
    """Replace a file atomically; the lock makes the temporary name safe."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # left by a full disk or a broken image


def _stat(row: Row) -> str:
    """Return size, time and inode, which change with the image, without reading it."""
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
    """Hold a lock that the kernel releases when its holder dies."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""Synthetic crops of jersey numbers, written in the format of the user's own data.

An image is a function of the settings and its index in its split. Global random
generators are not used.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from sweeper.vision.annotations import FILE_NAME
from sweeper.vision.images import DataError

VERSION = 1  # raise it when the same settings render other images
NUMBERS = (*map(str, range(41)), "00", *map(str, range(41, 100)))
SPLITS = {"train": 1.0, "valid": 0.2, "test": 0.2}
FONTS = ("DejaVuSans-Bold", "DejaVuSansMono-Bold", "DejaVuSerif-Bold")
OVERSAMPLING = 2
MARGIN = 0.1  # cloth around the visible part, so that no corner is empty


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderSettings:
    """Settings of a set of rendered images.

    Attributes:
        num_classes: number of classes, the first ones of `NUMBERS`; at most 101.
        num_images: training images, spread evenly over the classes.
        image_size: side in pixels.
    """

    num_classes: int = 42
    num_images: int = 6300
    image_size: int = 32
    seed: int = 0

    @property
    def folder_name(self) -> str:
        """Name of the folder; other settings have another name."""
        text = json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)
        return f"jersey_synthetic_{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def render_once(folder: Path, settings: RenderSettings) -> None:
    """Render into `folder` unless it exists; it appears complete or not at all.

    If two processes render at once, the later one discards its copy: rename(2) does not
    replace a folder that has content.

    Raises:
        DataError: the settings cannot be rendered.
    """
    if folder.is_dir():
        return
    if not 2 <= settings.num_classes <= len(NUMBERS):
        raise DataError(
            f"data.num_classes: {settings.num_classes}; must be 2 to {len(NUMBERS)}"
        )
    if settings.num_images * min(SPLITS.values()) < settings.num_classes:
        raise DataError(
            f"data.num_images: {settings.num_images}; must be at least "
            f"{5 * settings.num_classes}, so that each split has every class"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    temporary.chmod(0o755)
    try:
        for split in SPLITS:
            _write_split(temporary / split, split, settings)
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_split(folder: Path, split: str, settings: RenderSettings) -> None:
    (folder / "images").mkdir(parents=True)
    lines = []
    for index, (label, crop, metadata) in enumerate(crops(split, settings)):
        name = f"images/{index:06d}.png"
        crop.save(folder / name, compress_level=1)
        row = {"image": name, "suffix": label, "metadata": metadata}
        lines.append(json.dumps(row, sort_keys=True) + "\n")
    (folder / FILE_NAME).write_text("".join(lines), encoding="utf-8")


def crops(
    split: str, settings: RenderSettings
) -> Iterator[tuple[str, Image.Image, dict[str, object]]]:
    """Yield label, image and metadata of each crop of a split."""
    stream = list(SPLITS).index(split)
    for index in range(round(settings.num_images * SPLITS[split])):
        label = NUMBERS[index % settings.num_classes]
        rng = np.random.default_rng([settings.seed, stream, index])
        crop, metadata = render(label, rng, size=settings.image_size)
        yield label, crop, metadata


def render(
    label: str, rng: np.random.Generator, *, size: int
) -> tuple[Image.Image, dict[str, object]]:
    """Render one crop: a number on cloth, tilted, blurred and noisy.

    Returns:
        The image, `size` pixels square, and its metadata: colours, font and blur.
    """
    cloth, ink = _colours(rng)
    large = size * OVERSAMPLING
    canvas = Image.fromarray(_cloth(cloth, rng, size=size))
    canvas = canvas.resize((large, large), Image.Resampling.BILINEAR)
    font = str(rng.choice(FONTS))
    _write(canvas, label, ink, font, rng)
    blur = float(rng.uniform(0, 0.05)) * large
    canvas = canvas.filter(ImageFilter.BoxBlur(blur / 2))
    crop = _askew(canvas, rng, size=size)
    noise = rng.normal(0, rng.uniform(0, 14), (size, size, 3))
    pixels = np.clip(np.asarray(crop) * rng.uniform(0.65, 1.2) + noise, 0, 255)
    metadata: dict[str, object] = {
        "cloth": "#{:02x}{:02x}{:02x}".format(*cloth),
        "ink": "#{:02x}{:02x}{:02x}".format(*ink),
        "font": font,
        "blur": round(blur / OVERSAMPLING, 3),
    }
    return Image.fromarray(pixels.astype(np.uint8)), metadata


def _colours(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Draw the colours of cloth and ink, which differ clearly in brightness."""
    while True:
        cloth, ink = rng.integers(0, 256, (2, 3))
        if abs(float((cloth - ink) @ (0.299, 0.587, 0.114))) > 70:
            return tuple(cloth.tolist()), tuple(ink.tolist())


def _cloth(
    colour: tuple[int, ...], rng: np.random.Generator, *, size: int
) -> NDArray[np.uint8]:
    """Draw cloth with soft folds, sometimes striped: uint8 (size, size, 3)."""
    y, x = np.mgrid[0:size, 0:size] / size
    angle, waves, phase = rng.uniform(0, np.pi), rng.uniform(0.5, 2), rng.uniform(0, 6)
    folds = np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    pixels = np.ones((size, size, 3)) * colour + (rng.uniform(0, 30) * folds)[..., None]
    if rng.random() < 0.2:
        is_stripe = (x * rng.uniform(3, 6) + phase) % 1 < 0.3
        pixels[is_stripe] += rng.uniform(-35, 35, 3)
    cloth: NDArray[np.uint8] = np.clip(pixels, 0, 255).astype(np.uint8)
    return cloth


def _write(
    canvas: Image.Image,
    label: str,
    ink: tuple[int, ...],
    font_name: str,
    rng: np.random.Generator,
) -> None:
    """Draw the number near the middle, sometimes with an outline."""
    size = canvas.width
    height = round(size * rng.uniform(0.42, 0.6) * (1 if len(label) < 2 else 0.88))
    middle = size * (0.5 + rng.uniform(-0.05, 0.05, 2))
    has_outline = rng.random() < 0.35
    ImageDraw.Draw(canvas).text(
        tuple(middle.tolist()),
        label,
        fill=ink,
        font=_font(font_name, height),
        anchor="mm",
        stroke_width=round(size * 0.02) if has_outline else 0,
        stroke_fill=tuple(rng.integers(0, 256, 3).tolist()),
    )


@cache
def _font(name: str, height: int) -> ImageFont.FreeTypeFont:
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"{name}.ttf"), height)


def _askew(canvas: Image.Image, rng: np.random.Generator, *, size: int) -> Image.Image:
    """Cut out the middle, turned by up to 12 degrees, with its corners moved."""
    angle = np.deg2rad(rng.uniform(-12, 12))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) @ turn * (0.5 - MARGIN)
    corners = (0.5 + corners + rng.uniform(-0.06, 0.06, (4, 2))).clip(0, 1)
    quad = tuple((corners * canvas.width).ravel().tolist())
    large = canvas.transform(
        canvas.size, Image.Transform.QUAD, quad, Image.Resampling.BILINEAR
    )
    return large.resize((size, size), Image.Resampling.BOX)

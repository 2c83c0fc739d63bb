"""Images of any mode become RGB squares; broken ones are named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sweeper.vision.images import (
    PAD_COLOUR,
    DataError,
    denormalise,
    fit_square,
    load_rgb,
    normalise,
)

RED = (200, 30, 40)


def save(folder: Path, image: Image.Image, suffix: str = ".png", **options) -> Path:
    path = folder / f"image{suffix}"
    image.save(path, **options)
    return path


def palette() -> Image.Image:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, *RED])
    return image


@pytest.mark.parametrize(
    ("image", "suffix", "expected"),
    [
        (Image.new("RGB", (6, 4), RED), ".png", RED),
        (Image.new("RGBA", (6, 4), (*RED, 255)), ".png", RED),
        (Image.new("RGBA", (6, 4), (*RED, 0)), ".png", PAD_COLOUR),
        (Image.new("LA", (6, 4), (90, 255)), ".png", (90, 90, 90)),
        (Image.new("L", (6, 4), 90), ".png", (90, 90, 90)),
        (Image.new("1", (6, 4), 1), ".png", (255, 255, 255)),
        (palette(), ".png", RED),
        (Image.new("CMYK", (6, 4), (0, 255, 255, 0)), ".jpg", (254, 0, 0)),
        (Image.fromarray(np.full((4, 6), 90 * 257, np.uint16)), ".png", (90,) * 3),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else str(value),
)
def test_every_mode_becomes_rgb(tmp_path, image, suffix, expected):
    loaded = load_rgb(save(tmp_path, image, suffix))
    assert (loaded.mode, loaded.size) == ("RGB", (6, 4))
    np.testing.assert_allclose(loaded.getpixel((2, 2)), expected, atol=3)


def test_a_transparent_colour_of_a_palette_is_padding(tmp_path):
    path = save(tmp_path, palette(), transparency=1)
    assert load_rgb(path).getpixel((0, 0)) == PAD_COLOUR


def test_an_image_is_turned_upright_by_its_exif_orientation(tmp_path):
    image = Image.new("RGB", (60, 20))
    image.paste((255, 255, 255), (0, 0, 10, 20))  # left edge
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: left is top
    upright = load_rgb(save(tmp_path, image, ".jpg", exif=exif))
    assert upright.size == (20, 60)
    assert upright.getpixel((10, 3)) > (240, 240, 240)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_truncated_image_is_named(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    path = save(tmp_path, Image.fromarray(noise), suffix)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=f"image{suffix}: cannot be read"):
        load_rgb(path)


def test_a_missing_image_and_a_text_file_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    for name in ("text.png", "none.png"):
        with pytest.raises(DataError, match=f"{name}: cannot be read"):
            load_rgb(tmp_path / name)


@pytest.mark.parametrize("size", [(8, 4), (4, 8), (80, 40), (1, 100), (16, 16)])
def test_fitting_keeps_the_aspect_and_pads_around(size):
    fitted = fit_square(Image.new("RGB", size, RED), 16)
    assert (fitted.dtype, fitted.shape) == (torch.uint8, (3, 16, 16))
    inside = (fitted == torch.tensor(RED).view(3, 1, 1)).all(dim=0)
    width, height = (max(1, round(16 * side / max(size))) for side in size)
    assert int(inside.sum()) == width * height
    assert bool(inside[7:9, 7:9].any())
    padding = fitted[:, ~inside]
    assert bool((padding == torch.tensor(PAD_COLOUR).view(3, 1)).all())


def test_normalised_images_have_imagenet_statistics_and_come_back():
    images = torch.randint(0, 256, (2, 3, 5, 5), dtype=torch.uint8)
    normal = normalise(images)
    expected = (images[1, 2, 0, 0].item() / 255 - 0.406) / 0.225
    assert normal[1, 2, 0, 0].item() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(denormalise(normal), images)


def test_padding_is_zero_once_normalised():
    padding = torch.tensor(PAD_COLOUR, dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalise(padding).abs().max() < 0.01

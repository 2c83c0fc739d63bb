"""Batched augmentations are torchvision's, for each image on its own."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from sweeper.vision import batched
from sweeper.vision.annotations import Row
from sweeper.vision.dataset import CropDataset

COUNT = 600


def _images(count: int, size: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    shape = (count, 3, size, size)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("is_brightness_first", [True, False])
def test_light_is_torchvisions_to_the_last_bit(is_brightness_first: bool) -> None:
    images = _images(50)
    factors = torch.linspace(0.6, 1.4, 50)
    other = factors.flip(0)
    light = images.float()
    if is_brightness_first:
        light = batched._brighter(light, factors)
    light = batched._contrasted(light, other)
    if not is_brightness_first:
        light = batched._brighter(light, factors)
    for index, image in enumerate(images):
        steps: list[Callable[[torch.Tensor], torch.Tensor]] = [
            lambda x, b=float(factors[index]): tv.adjust_brightness(x, b),
            lambda x, c=float(other[index]): tv.adjust_contrast(x, c),
        ]
        for step in steps if is_brightness_first else reversed(steps):
            image = step(image)
        assert (light[index] - image.float()).abs().max() <= 1  # of float32's sums
        assert (light[index] == image).float().mean() > 0.99


def _p_value(a: np.ndarray, b: np.ndarray) -> float:
    test = stats.ks_2samp(np.round(a, 2), np.round(b, 2), method="asymp")
    return float(test.pvalue)


def _one_by_one(transform: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    return torch.stack([transform(image) for image in images])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (batched.BatchedCrop(3, (9, 9, 9)), v2.RandomCrop(8, padding=3, fill=9)),
        (batched.BatchedFlip(0.3), v2.RandomHorizontalFlip(0.3)),
        (
            batched.BatchedLight(0.4, 0.4),
            v2.ColorJitter(brightness=0.4, contrast=0.4),
        ),
    ],
    ids=["crop", "flip", "light"],
)
def test_the_distribution_is_that_of_torchvisions_transform(
    ours: torch.nn.Module, theirs: torch.nn.Module
) -> None:
    image = _images(1)
    images = image.expand(COUNT, -1, -1, -1)
    torch.manual_seed(0)
    first = ours(images.clone()).float()
    second = _one_by_one(theirs, images).float()
    # Any projection of equal distributions is equal: a random one, and the mean.
    weights = torch.randn(3 * 64, generator=torch.Generator().manual_seed(1))
    for project in (lambda x: x.flatten(1) @ weights, lambda x: x.mean((1, 2, 3))):
        a, b = project(first).numpy(), project(second).numpy()
        assert _p_value(a, b) > 1e-3


def test_images_of_a_batch_are_changed_independently() -> None:
    image = _images(1)
    torch.manual_seed(0)
    out = batched.BatchedLight(0.4, 0.4)(image.repeat(200, 1, 1, 1))
    assert len({bytes(each.numpy().tobytes()) for each in out}) > 150


def test_an_epoch_is_a_function_of_its_seed() -> None:
    rows = [Row(label="1", place=str(index)) for index in range(10)]
    modules = [batched.BatchedCrop(2), batched.BatchedFlip(), batched.BatchedLight(0.2)]
    dataset = CropDataset(rows, [0] * 10, _images(10), augmentations=modules)

    def batch(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return dataset.__getitems__(list(range(10)))["images"]

    assert torch.equal(batch(1), batch(1))
    assert not torch.equal(batch(1), batch(2))


def test_the_given_images_stay_as_they_are() -> None:
    images = _images(10)
    kept = images.clone()
    for module in (
        batched.BatchedCrop(2),
        batched.BatchedFlip(),
        batched.BatchedLight(0.5, 0.5),
    ):
        module(images)
    assert torch.equal(images, kept)


def test_a_negative_padding_is_refused() -> None:
    with pytest.raises(ValueError, match="padding -1"):
        batched.BatchedCrop(-1)

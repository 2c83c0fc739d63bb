"""Batched augmentations are torchvision's, for each image on its own."""

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from sweeper.vision import batched
from sweeper.vision.annotations import Row
from sweeper.vision.dataset import CropDataset
from sweeper.vision.images import normalise

COUNT = 600


def _images(count: int, size: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    shape = (count, 3, size, size)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


def test_light_is_torchvisions_to_the_last_bit() -> None:
    images = _images(50)
    light = batched.BatchedLight(0.4, 0.4)
    drawn = light.draw(50)
    found = light.augment(images.float(), drawn)
    for row, image, ours in zip(drawn.tolist(), images, found, strict=True):
        brightness, contrast, order = row
        if order < 0.5:
            image = tv.adjust_contrast(image, contrast)
        image = tv.adjust_brightness(image, brightness)
        if order >= 0.5:
            image = tv.adjust_contrast(image, contrast)
        assert (ours - image.float()).abs().max() <= 1  # of float32's sums
        assert (ours == image).float().mean() > 0.99


def test_either_of_brightness_and_contrast_comes_first_as_often() -> None:
    light = batched.BatchedLight(0.4, 0.4)
    torch.manual_seed(0)
    firsts = torch.stack([light.draw(20)[:, 2] < 0.5 for _ in range(500)]).float()
    counts = firsts.sum(1)
    assert float(counts.mean()) == pytest.approx(10, abs=0.3)
    assert float(counts.std()) == pytest.approx(5**0.5, rel=0.1)  # binomial
    assert (firsts.diff(dim=1) <= 0).all()  # the first images, so all lie together


@pytest.mark.parametrize("count", [1, 7, 64])
def test_blocks_and_their_ends_change_nothing(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = (batched.BatchedFlip(), batched.BatchedLight(0.4, 0.4))
    steps = (batched.BatchedCrop(2, (1, 2, 3)), *steps, batched.BatchedCrop(1))
    images = _images(count)

    def found() -> torch.Tensor:
        torch.manual_seed(0)
        return batched.prepared(images, steps)

    whole = found()
    monkeypatch.setattr(batched, "BLOCK_VALUES", 5 * images[0].numel())
    assert torch.allclose(found(), whole, atol=0.02)  # a level: sums differ in order
    torch.manual_seed(0)
    drawn = [step.draw(count) for step in steps]
    one_by_one = images.float()
    for step, rows in zip(steps, drawn, strict=True):
        one_by_one = step.augment(one_by_one, rows)
    assert torch.allclose(normalise(one_by_one), whole, atol=0.02)


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


def test_a_prepared_batch_may_be_trained_on() -> None:
    weights = torch.zeros(3, requires_grad=True)
    batch = batched.prepared(_images(4), [batched.BatchedLight(0.2, 0.2)])
    (batch.mean((2, 3)) * weights).sum().backward()
    assert weights.grad is not None
    assert not batch.is_inference()

"""Pictures of what is trained on and of the highest losses."""

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from lightning.pytorch import Callback

from sweeper.vision.callbacks.grids import thumbnails
from sweeper.vision.callbacks.samples import Samples
from sweeper.vision.dataset import CropDataset
from sweeper.vision.images import normalise
from tests.vision_callbacks.fitting import (
    OrderedData,
    RandomData,
    fit,
    fit_in_two,
    is_picture,
)


class Watch(Callback):
    """Keeps the loss and index of each image of the last validation."""

    def __init__(self) -> None:
        self.losses: list[tuple[float, int]] = []

    def on_validation_epoch_start(self, *_: object) -> None:
        self.losses = []

    def on_validation_batch_end(self, trainer, module, outputs, *_: object) -> None:
        logits = outputs["logits"].float()  # of a CPU with bfloat16 units they are not
        losses = F.cross_entropy(logits, outputs["labels"], reduction="none")
        self.losses += zip(losses.tolist(), outputs["indices"].tolist(), strict=True)


def test_the_worst_are_the_images_of_the_highest_losses(tmp_path):
    data, watch, samples = RandomData(), Watch(), Samples(str(tmp_path), num_images=5)
    fit([watch, samples], tmp_path, data=data)
    expected = sorted(watch.losses, reverse=True)[:5]
    assert samples.worst["losses"].tolist() == [loss for loss, _ in expected]
    dataset: CropDataset = data.dataset("valid")
    for image, label, (_, index) in zip(
        samples.worst["images"], samples.worst["labels"], expected, strict=True
    ):
        assert torch.equal(image, dataset.raw(index))
        assert label == dataset.labels[index]
    assert is_picture(tmp_path / "samples_worst.png")
    assert is_picture(tmp_path / "samples_train.png")


def test_fewer_images_than_asked_for_are_all_shown(tmp_path):
    samples = Samples(str(tmp_path), num_images=100)
    fit([samples], tmp_path, limit_val_batches=1)
    assert len(samples.worst["images"]) == 8
    assert is_picture(tmp_path / "samples_worst.png")


def test_the_worst_of_a_resumed_training_equal_those_of_an_uncut_one(tmp_path):
    uncut = Samples(str(tmp_path / "uncut"))
    fit([uncut], tmp_path, data=OrderedData())
    (resumed,), _ = fit_in_two(
        lambda: [Samples(str(tmp_path))], tmp_path, data=OrderedData()
    )
    for key, value in uncut.worst.items():
        assert torch.equal(resumed.worst[key], value), key


def test_large_images_become_small_pictures():
    images = torch.full((2, 3, 300, 300), 200, dtype=torch.uint8)
    small = thumbnails(normalise(images))
    assert small.shape == (2, 3, 96, 96)
    assert small.unique().tolist() == [200]

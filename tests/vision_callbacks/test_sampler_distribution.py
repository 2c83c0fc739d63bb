"""Counts of draws are those of the batches that were trained on."""

from collections import Counter

import torch
from lightning.pytorch import Callback

from sweeper.vision.callbacks.sampler_distribution import SamplerDistribution
from tests.vision_callbacks.fitting import (
    OrderedData,
    RandomData,
    fit,
    fit_in_two,
    is_picture,
)


class Watch(Callback):
    """Counts every index that training_step saw."""

    def __init__(self) -> None:
        self.draws: Counter[int] = Counter()

    def on_train_batch_start(self, trainer, module, batch, *_: object) -> None:
        self.draws.update(batch["indices"].tolist())


def test_draws_of_a_weighted_sampler_are_counted_one_by_one(tmp_path):
    watch, counted = Watch(), SamplerDistribution(str(tmp_path))
    data = RandomData(weighted_sampler=True)
    fit([watch, counted], tmp_path, data=data, max_epochs=3)
    draws = dict(enumerate(counted.draws_N.tolist()))
    assert {index: count for index, count in draws.items() if count} == watch.draws
    assert sum(draws.values()) == 3 * 40
    for index in watch.draws:
        assert counted.labels_N[index] == data.train_labels[index]
    assert is_picture(tmp_path / "sampler_distribution.png")


def test_without_a_sampler_every_image_is_drawn_once_an_epoch(tmp_path):
    counted = SamplerDistribution(str(tmp_path))
    fit([counted], tmp_path)
    assert torch.equal(counted.draws_N, torch.full((40,), 2))


def test_draws_before_a_cut_are_kept_and_none_is_counted_twice(tmp_path):
    (resumed,), _ = fit_in_two(
        lambda: [SamplerDistribution(str(tmp_path))], tmp_path, data=OrderedData()
    )
    assert torch.equal(resumed.draws_N, torch.full((40,), 2))

"""Counts of the last validation equal scikit-learn's."""

import json

import numpy as np
from lightning.pytorch import Callback
from sklearn.metrics import confusion_matrix

from sweeper.vision.callbacks.confusion_matrix import ConfusionMatrix
from tests.vision_callbacks.fitting import (
    OrderedData,
    fit,
    fit_in_two,
    is_picture,
)


class Watch(Callback):
    """Keeps the labels and predictions of the last validation."""

    def __init__(self) -> None:
        self.true: list[int] = []
        self.predicted: list[int] = []

    def on_validation_epoch_start(self, *_: object) -> None:
        self.true, self.predicted = [], []

    def on_validation_batch_end(self, trainer, module, outputs, *_: object) -> None:
        self.true += outputs["labels"].tolist()
        self.predicted += outputs["logits"].argmax(dim=1).tolist()


def test_counts_equal_those_of_scikit_learn(tmp_path):
    watch = Watch()
    fit([watch, ConfusionMatrix(str(tmp_path))], tmp_path)
    written = json.loads((tmp_path / "confusion_matrix.json").read_text())
    assert (written["epoch"], written["classes"]) == (2, ["0", "1", "2"])
    expected = confusion_matrix(watch.true, watch.predicted, labels=range(3))
    assert np.array_equal(written["counts"], expected)
    assert expected.sum() == 18
    assert is_picture(tmp_path / "confusion_matrix.png")


def test_counts_after_a_resume_equal_those_of_an_uncut_training(tmp_path):
    uncut = ConfusionMatrix(str(tmp_path / "uncut"))
    fit([uncut], tmp_path, data=OrderedData())
    (resumed,), _ = fit_in_two(
        lambda: [ConfusionMatrix(str(tmp_path))], tmp_path, data=OrderedData()
    )
    assert resumed.counts_CC.tolist() == uncut.counts_CC.tolist()

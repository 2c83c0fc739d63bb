"""Curves of each epoch, over all starts of a training."""

import pytest
from lightning.pytorch import Callback

from sweeper.vision.callbacks.history import History
from tests.vision_callbacks.fitting import OrderedData, fit, fit_in_two, is_picture


def test_history_holds_the_metrics_of_each_epoch(tmp_path):
    history = History(str(tmp_path))
    trainer = fit([history], tmp_path)
    assert sorted(history.rows) == [1, 2]
    names = [f"{s}/{m}" for s in ("train", "val") for m in ("loss", "acc_top1")]
    assert {*names, "learning_rate"} <= set(history.rows[1])
    for name in names:
        assert history.rows[2][name] == pytest.approx(trainer.callback_metrics[name])
    assert is_picture(tmp_path / "history.png")


def test_history_after_a_resume_equals_that_of_an_uncut_training(tmp_path):
    uncut = History(str(tmp_path / "uncut"))
    fit([uncut], tmp_path, data=OrderedData())

    def make() -> list[Callback]:
        return [History(str(tmp_path))]

    (resumed,), _ = fit_in_two(make, tmp_path, data=OrderedData())
    assert resumed.rows == uncut.rows
    assert is_picture(tmp_path / "history.png")

"""The average of the weights: its values, and who sees it."""

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from sweeper.vision.callbacks.ema import EMA
from sweeper.vision.train import without_irrelevant_warnings
from tests.vision_callbacks.fitting import (
    OrderedData,
    RandomData,
    fit,
    fit_in_two,
    weights,
)


class Watch(Callback):
    """Keeps the weights after each step and those that are validated with."""

    def __init__(self) -> None:
        self.trained: list[dict[str, torch.Tensor]] = []
        self.validated: dict[str, torch.Tensor] = {}

    def on_train_batch_end(self, trainer, *_: object) -> None:
        self.trained.append(weights(trainer))

    def on_validation_batch_end(self, trainer, *_: object) -> None:
        self.validated = weights(trainer)


def average(trained: list[dict[str, torch.Tensor]], name: str) -> torch.Tensor:
    """The recursion in double precision, from its formula."""
    mean = trained[0][name].double()
    for count, state in enumerate(trained[1:], start=1):
        decay = min(0.999, (1 + count) / (10 + count))
        mean = decay * mean + (1 - decay) * state[name].double()
    return mean


def test_the_average_follows_its_recursion_and_is_what_is_used(tmp_path):
    watch = Watch()
    checkpoint = ModelCheckpoint(tmp_path, filename="best", monitor="val/loss")
    trainer = fit([watch, EMA(), checkpoint], tmp_path)
    plain = Watch()
    fit([plain], tmp_path)
    assert len(watch.trained) == 10
    saved = torch.load(tmp_path / "best.ckpt", weights_only=True)
    steps = saved["global_step"]
    names = [name for name in saved["state_dict"] if "num_batches" not in name]
    assert any("running_var" in name for name in names)
    after = weights(trainer)
    for name in names:
        assert torch.equal(watch.trained[-1][name], plain.trained[-1][name])
        expected = average(watch.trained, name).float()
        torch.testing.assert_close(after[name], expected)
        assert torch.equal(watch.validated[name], after[name])
        at_best = average(watch.trained[:steps], name).float()
        torch.testing.assert_close(saved["state_dict"][name], at_best)
        current = saved["current_model_state"][name]
        assert torch.equal(current, watch.trained[steps - 1][name])


def test_a_resumed_average_equals_an_uncut_one(tmp_path):
    uncut = fit([EMA()], tmp_path, data=OrderedData())
    _, resumed = fit_in_two(lambda: [EMA()], tmp_path, data=OrderedData())
    for name, value in weights(resumed).items():
        assert torch.equal(value, weights(uncut)[name]), name


def test_the_last_checkpoint_trains_on_as_if_it_had_not_ended(tmp_path):
    class Halfway(Callback):
        """Ends the fit after its first epoch, whose schedule is for two."""

        def on_train_epoch_end(self, trainer, *_: object) -> None:
            trainer.should_stop = trainer.current_epoch == 0

    def checkpoint() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, save_last=True, save_top_k=0)

    uncut = fit([EMA()], tmp_path, data=OrderedData())
    fit([EMA(), Halfway(), checkpoint()], tmp_path, data=OrderedData(), min_epochs=1)
    callbacks = [EMA(), checkpoint()]
    last = tmp_path / "last.ckpt"
    resumed = fit(callbacks, tmp_path, data=OrderedData(), ckpt_path=last)
    assert resumed.global_step == 10
    for name, value in weights(resumed).items():
        assert torch.equal(value, weights(uncut)[name]), name


def test_a_test_after_the_fit_is_of_the_average(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path, filename="best")
    trainer = fit([EMA(), checkpoint], tmp_path)
    saved = torch.load(tmp_path / "best.ckpt", weights_only=True)
    model = trainer.lightning_module
    best = tmp_path / "best.ckpt"
    with without_irrelevant_warnings():
        trainer.test(model, datamodule=RandomData(), ckpt_path=best, verbose=False)
    for name, value in model.state_dict().items():
        assert torch.equal(value, saved["state_dict"][name]), name


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0])
def test_a_decay_out_of_its_range_is_an_error(decay):
    with pytest.raises(ValueError, match=r"callbacks\.ema\.decay: .*\[0, 1\)"):
        EMA(decay)

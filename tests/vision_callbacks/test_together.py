"""All callbacks of conf/callbacks in one training."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from sweeper.vision.train import parts
from tests.vision.composing import CONF, composed
from tests.vision_callbacks.fitting import (
    OrderedData,
    RandomData,
    fit,
    is_picture,
    weights,
)

KEYS = {
    *("model_checkpoint", "early_stopping", "learning_rate_monitor", "progress_bar"),
    *("ema", "onnx_export", "confusion_matrix", "model_info", "dataset_statistics"),
    *("history", "sampler_distribution", "samples"),
}
PICTURES = {
    *("confusion_matrix.png", "dataset_statistics.png", "history.png"),
    *("sampler_distribution.png", "samples_train.png", "samples_worst.png"),
}
OTHERS = {
    *("confusion_matrix.json", "dataset_statistics.json", "model_info.json"),
    "model.onnx",
}
NO_ONNX = "callbacks.onnx_export=null"  # quick


def callbacks(folder: Path, *overrides: str, name: str = "default") -> list[Callback]:
    group = composed(folder, f"callbacks={name}", *overrides).callbacks
    return [each for each in parts(group) if isinstance(each, Callback)]


def artifacts(folder: Path) -> set[str]:
    return {path.name for path in (folder / "out" / "artifacts").glob("*")}


def test_default_has_the_twelve(tmp_path):
    assert composed(tmp_path, "callbacks=default").callbacks.keys() == KEYS


COUNTS = {"default": 12, "sweep": 4, "sized": 2, "minimal": 1, "none": 0}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_every_group_makes_its_callbacks(tmp_path, name, count):
    assert len(callbacks(tmp_path, name=name)) == count


def test_no_group_is_without_a_count_above():
    names = {path.stem for path in (CONF / "callbacks").glob("*.yaml")}
    assert names == COUNTS.keys()


@pytest.mark.slow
def test_a_training_leaves_every_artifact_and_the_generator_as_it_was(tmp_path):
    fit(callbacks(tmp_path), tmp_path)
    state = torch.get_rng_state()
    assert artifacts(tmp_path) == PICTURES | OTHERS
    for name in PICTURES:
        assert is_picture(tmp_path / "out" / "artifacts" / name), name
    assert (tmp_path / "out" / "checkpoints" / "best.ckpt").exists()
    fit([], tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_are_bit_equal_with_and_without_callbacks(tmp_path):
    data = RandomData(weighted_sampler=True)
    watched = fit(
        callbacks(tmp_path, NO_ONNX, "callbacks.ema=null"), tmp_path, data=data
    )
    state = torch.get_rng_state()
    plain = fit([], tmp_path, data=data)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in weights(plain).items():
        assert torch.equal(value, weights(watched)[name]), name


@pytest.mark.slow
def test_a_training_killed_after_its_last_epoch_leaves_every_picture(tmp_path):
    light = (NO_ONNX, "callbacks.model_checkpoint.save_last=true")
    fit(callbacks(tmp_path, *light), tmp_path, data=OrderedData())
    folder = tmp_path / "out" / "artifacts"
    for name in PICTURES - {"samples_train.png"}:
        (folder / name).unlink()
    last = tmp_path / "out" / "checkpoints" / "last.ckpt"
    torch.load(last, weights_only=True)
    fit(callbacks(tmp_path, *light), tmp_path, data=OrderedData(), ckpt_path=last)
    for name in PICTURES:
        assert is_picture(folder / name), name


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"fast_dev_run": True}, set()),
        (
            {"limit_val_batches": 0},
            {"dataset_statistics.png", "history.png", "sampler_distribution.png"}
            | {"samples_train.png", "dataset_statistics.json", "model_info.json"},
        ),
        (
            {"limit_train_batches": 1, "limit_val_batches": 1}
            | {"num_sanity_val_steps": 0, "check_val_every_n_epoch": 2},
            PICTURES | OTHERS,
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*val/acc_top1.*")
@pytest.mark.filterwarnings("ignore:ModelCheckpoint")
def test_unusual_trainings_leave_what_they_can(tmp_path, settings, left):
    light = callbacks(tmp_path, NO_ONNX)
    fit(light, tmp_path, **settings)
    assert artifacts(tmp_path) == left - {"model.onnx"}


def test_the_best_checkpoint_is_of_the_average(tmp_path):
    fit(callbacks(tmp_path, name="sweep"), tmp_path)
    best = tmp_path / "out" / "checkpoints" / "best.ckpt"
    state = torch.load(best, weights_only=True)
    name = "network.1.0.weight"
    average, current = state["state_dict"][name], state["current_model_state"][name]
    assert not torch.equal(average, current)

"""`sweeper train` as users run it: what it leaves, and what a kill changes: nothing."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from sweeper.vision.callbacks.onnx_export import best_network
from sweeper.vision.dataset import CropDataset
from sweeper.vision.digits import DigitsData
from sweeper.vision.predict import load_classifier
from tests.e2e.harness import sweeper

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

DIGITS = ("data=digits", "trainer=cpu", "model=small_cnn", "trainer.max_epochs=5")
PICTURES = {
    *("confusion_matrix", "dataset_statistics", "history"),
    *("sampler_distribution", "samples_train", "samples_worst"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, str]:  # type: ignore[no-untyped-def]
    """Folder and output of a training with every callback, logged."""
    sweeps = tmp_path_factory.mktemp("train")
    settings = ("--wandb", "offline", "--sweeps", sweeps)
    done = sweeper("train", *DIGITS, "callbacks=default", *settings)
    assert done.returncode == 0, done.stderr
    (folder,) = (sweeps / "train").iterdir()
    return folder, done.stdout


def _valid() -> CropDataset:
    return DigitsData().dataset("valid")


def _records(folder: Path) -> list[dict]:  # type: ignore[type-arg]
    """Every record of the one offline run of a training, as W&B itself reads it."""
    (run,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    wandb = Path(sys.executable).with_name("wandb")
    arguments = [str(wandb), "leet", "inspect", "--json", str(run)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_training_leaves_all_in_one_folder(trained) -> None:  # type: ignore[no-untyped-def]
    folder, output = trained
    assert f"checkpoint {folder / 'checkpoints' / 'best.ckpt'}" in output
    for name in ("best.ckpt", "last.ckpt"):
        assert load_classifier(folder / "checkpoints" / name).num_classes == 10
    for name in PICTURES:
        with Image.open(folder / "artifacts" / f"{name}.png") as picture:
            assert min(picture.size) > 300, name
            assert np.ptp(np.asarray(picture.convert("L"))) > 100, name


def test_the_onnx_file_computes_what_the_best_checkpoint_does(trained) -> None:  # type: ignore[no-untyped-def]
    folder, _ = trained
    best = folder / "checkpoints" / "best.ckpt"
    network = best_network(load_classifier(best), checkpoint=str(best))
    images_BCHW = _valid().__getitems__(list(range(100)))["images"]
    session = onnxruntime.InferenceSession(
        folder / "artifacts" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (found_BC,) = session.run(["logits"], {"images": images_BCHW.numpy()})
    with torch.inference_mode():
        expected_BC = network(images_BCHW).numpy()
    assert np.abs(found_BC - expected_BC).max() < 1e-4


def test_wandb_has_metrics_of_each_epoch_rates_of_each_step_and_pictures(
    trained,  # type: ignore[no-untyped-def]
) -> None:
    folder, output = trained
    rows = [r["history"]["item"] for r in _records(folder) if r["type"] == "history"]

    def logged(name: str) -> list[float]:
        return [row[name] for row in rows if name in row]

    for split in ("train", "val"):
        for name in ("loss", "acc_top1", "acc_top5"):
            assert len(logged(f"{split}/{name}")) == 5
    assert len(logged("train/loss_step")) == 10  # of 100 steps, each tenth
    assert len(logged("learning_rate/kernels")) == 10
    assert max(logged("val/acc_top1")) > 0.9
    assert f"best val/acc_top1 {max(logged('val/acc_top1')):.4f}" in output
    for name in PICTURES:
        times = 5 if name == "confusion_matrix" else 1  # it is drawn in each epoch
        assert logged(f"{name}._type") == ["images/separated"] * times, name


def test_testing_a_finished_training_trains_no_more(trained) -> None:  # type: ignore[no-untyped-def]
    folder, _ = trained
    before = _last(folder)["global_step"]
    settings = ("--wandb", "none", "--sweeps", folder.parents[1])
    done = sweeper("train", *DIGITS, "callbacks=default", "--test", *settings)
    assert done.returncode == 0, done.stderr
    assert re.search(r"test/acc_top1 .* 0\.9", done.stdout), done.stdout
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert before == _last(folder)["global_step"] == 100


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.long)])
def test_a_training_killed_in_its_third_epoch_ends_bit_equal(
    tmp_path: Path, num_workers: int
) -> None:
    sweeps, cut, marker = (tmp_path / name for name in ("sweeps", "cut", "killed"))
    kill = "_target_: tests.vision.killing.KillOnce, epoch: 3, batch: 5"
    arguments = (
        *(*DIGITS, "+trainer.limit_train_batches=9", "callbacks=sweep"),
        *(f"data.num_workers={num_workers}", "data.weighted_sampler=true"),
        f"+callbacks.kill={{{kill}, marker: {marker}}}",
        *("--wandb", "none", "--sweeps", sweeps),
    )
    assert sweeper("train", *arguments).returncode == -signal.SIGKILL
    again = sweeper("train", *arguments)
    assert again.returncode == 0, again.stderr
    sweeps.rename(cut)  # and the whole one at its place: checkpoints hold paths
    whole = sweeper("train", *arguments)
    assert whole.returncode == 0, whole.stderr
    ended, uncut = (_last(next((each / "train").iterdir())) for each in (cut, sweeps))
    assert uncut["global_step"] == 45
    assert "current_model_state" in uncut  # the EMA's: state_dict is the average
    for key in (
        *("state_dict", "current_model_state", "averaging_state"),
        *("optimizer_states", "lr_schedulers", "callbacks", "epoch", "global_step"),
    ):
        assert not differences(ended[key], uncut[key], place=key)


def _last(folder: Path) -> dict:  # type: ignore[type-arg]
    checkpoint = folder / "checkpoints" / "resume" / "last.ckpt"
    content: dict = torch.load(checkpoint, weights_only=True)  # type: ignore[type-arg]
    return content


def differences(one: object, other: object, *, place: str) -> list[str]:
    """Places where two checkpoints differ in a bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return [f"{place}: {one.keys() ^ other.keys()}"]
        pairs = [(f"{place}.{key}", one[key], other[key]) for key in one]
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return [f"{place}: {len(one)} and {len(other)} items"]
        pairs = [
            (f"{place}[{i}]", *pair)
            for i, pair in enumerate(zip(one, other, strict=True))
        ]
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if torch.equal(one, other) else [place]
    else:
        return [] if one == other else [place]
    return [found for p, a, b in pairs for found in differences(a, b, place=p)]

"""Checkpoints within an epoch: nothing is lost, and less is done again."""

from pathlib import Path

import pytest
import torch

from sweeper.trial.active_trial import ActiveTrial
from sweeper.trial.exact_resume.fits import Fit
from sweeper.trial.exact_resume.saver import KEY, Saver
from tests.exact import running
from tests.exact.cases import CASES, MIDDLE
from tests.exact.running import History, make_spec

pytestmark = pytest.mark.filterwarnings("ignore")

STEP = "first on_train_batch_start"


def _cut_in_epoch(folder: Path, overrides: tuple[str, ...], **keys: int) -> list[str]:
    """A fit cut after four batches of its third epoch; the events of its second run."""
    whole = make_spec(folder / "whole", overrides)
    history, other = History(), History()
    events = running.run(whole, history)
    place = [i for i, e in enumerate(events) if e == "first on_train_epoch_start"][2]
    cut = make_spec(folder / "cut", overrides, **keys)
    running.run(cut, other, cut_at=events[:place].count(STEP) + 4, only=STEP)
    resumed = running.run(cut, other)
    assert not running.differences(history.metrics, other.metrics)
    assert not running.differences(running.result(whole), running.result(cut))
    return resumed


@pytest.mark.parametrize("name", ["plain"])
def test_a_fit_goes_on_within_its_epoch_and_ends_the_same(
    name: str, tmp_path: Path
) -> None:
    resumed = _cut_in_epoch(tmp_path, CASES[name], checkpoint_steps=1)
    assert resumed.count(STEP) == 2 + 6  # of the third and the fourth epoch


SHORT = {"own generator, persistent workers", "manual optimisation", "WeightAveraging"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        name if name in SHORT else pytest.param(name, marks=pytest.mark.long)
        for name in MIDDLE
    ],
)
@pytest.mark.few(3)
def test_every_kind_of_fit_goes_on_within_its_epoch(name: str, tmp_path: Path) -> None:
    resumed = _cut_in_epoch(tmp_path, (*CASES[name], "patience=5"), checkpoint_steps=1)
    assert resumed.count(STEP) % 6 == MIDDLE[name]  # and whole epochs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loader", "reason"),
    [
        ("stream", "Stream is an IterableDataset"),
        ("own_sampler", "Halves is not one of torch's samplers"),
        ("two", "there are 2 training loaders"),
    ],
)
@pytest.mark.few(2)
def test_a_loader_that_cannot_be_replayed_saves_between_epochs_and_says_so(
    loader: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = (f"loader={loader}", "epochs=3")
    resumed = _cut_in_epoch(tmp_path, overrides, checkpoint_steps=1)
    assert resumed.count(STEP) == 6  # the third epoch anew
    assert f"cannot be replayed: {reason}" in capsys.readouterr().out  # its log


@pytest.mark.slow
def test_steps_between_two_saves_are_counted(tmp_path: Path) -> None:
    resumed = _cut_in_epoch(tmp_path, ("epochs=3",), checkpoint_steps=3)
    assert resumed.count(STEP) == 3  # saved after the third batch of six


def test_minutes_between_two_saves_are_counted(tmp_path: Path) -> None:
    now = 0.0
    spec = make_spec(tmp_path, (), checkpoint_minutes=2.0)
    trial = ActiveTrial(spec=spec)
    saver = Saver(Fit(trial, 1), clock=lambda: now)
    assert not saver.is_due(step=1000)
    now = 119.0
    assert not saver.is_due(step=1000)
    now = 120.0
    assert saver.is_due(step=1000)
    saver.begin(step=1000)
    assert not saver.is_due(step=1001)


@pytest.mark.slow
def test_a_save_on_a_batch_that_validates_waits_for_the_next(tmp_path: Path) -> None:
    overrides = ("epochs=1", "val_check_interval=0.5")
    cut = make_spec(tmp_path / "a", overrides, checkpoint_steps=1)
    running.run(cut, History(), cut_at=3, only=STEP)  # the third batch validated
    last = Path(cut.folder) / "checkpoints" / "resume" / "last.ckpt"
    assert torch.load(last, weights_only=False)[KEY]["middle"]["batches"] == 2

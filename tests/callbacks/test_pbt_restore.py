"""A child of a population: its parent's weights and progress, its own settings."""

from pathlib import Path
from typing import Any

import pytest

from sweeper.protocol import Decision, Lineage, TrialSpec
from sweeper.trial import worker
from tests.exact import running
from tests.exact.running import History, make_spec

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

START = 2  # epochs of the parent; a child has as many
STEPS = 6  # of an epoch


def _line(
    folder: Path, *words: str, child: tuple[str, ...] = (), **params: float
) -> tuple[TrialSpec, TrialSpec]:
    """A parent that its generation ends, and a child that starts from it."""
    parent = make_spec(folder / "parent", words, params={"lr": 0.05})

    def decide(epoch: int) -> Decision:
        return Decision.STOP if epoch == START else Decision.CONTINUE

    running.run(parent, History(decide=decide))
    place = Lineage(parent="parent", generation=1, member=0, start=START, until=4)
    spec = make_spec(
        folder / "child",
        (*words, *child, *(f"{name}={value}" for name, value in params.items())),
        params={"lr": 0.05, **params},
        lineage=place,
    )
    running.run(spec, History())
    return parent, spec


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("scheduler=plateau", "callbacks=[early_stopping]", "patience=9")),
        pytest.param(("scheduler=cosine",), marks=pytest.mark.slow),
        pytest.param(("callbacks=[averaging,counting]",), marks=pytest.mark.slow),
        pytest.param(("package=pytorch_lightning",), marks=pytest.mark.slow),
    ],
    ids=["plateau", "cosine", "averaging", "pytorch_lightning"],
)
@pytest.mark.few(2)
def test_a_line_of_equal_settings_is_one_training(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    whole = make_spec(tmp_path / "whole", words)
    running.run(whole, History())
    _, child = _line(tmp_path, *words)
    assert not running.differences(running.result(whole), running.result(child))


def _rates(result: dict[str, Any]) -> list[float]:
    return [g["lr"] for o in result["optimizers"] for g in o["param_groups"]]


@pytest.mark.parametrize(
    "scheduler",
    ["none", "step", pytest.param("cosine", marks=pytest.mark.slow)],
)
@pytest.mark.few(1)
def test_a_child_trains_at_its_own_learning_rate(
    scheduler: str, tmp_path: Path
) -> None:
    words = (f"scheduler={scheduler}",)
    alone = make_spec(tmp_path / "alone", (*words, "lr=0.02"))
    running.run(alone, History())
    _, child = _line(tmp_path, *words, lr=0.02)
    of_child, of_alone = running.result(child), running.result(alone)
    assert _rates(of_child) == pytest.approx(_rates(of_alone), rel=1e-12)
    for one, other in zip(of_child["schedulers"], of_alone["schedulers"], strict=True):
        assert one["base_lrs"] == other["base_lrs"] == [0.02]
        assert one["last_epoch"] == other["last_epoch"]
    # What it has from its parent: the moments' steps, the epoch, the weights.
    (state,) = [o["state"] for o in of_child["optimizers"]]
    assert {int(s["step"]) for s in state.values()} == {2 * START * STEPS}
    assert of_child["epoch"] == 2 * START
    assert running.differences(of_child["weights"], of_alone["weights"])


def test_a_rate_that_what_was_seen_has_lowered_is_lowered_as_much(
    tmp_path: Path,
) -> None:
    words = ("scheduler=plateau",)  # with a threshold that no epoch of these meets
    whole = make_spec(tmp_path / "whole", words)
    running.run(whole, History())
    lowered = _rates(running.result(whole))[0] / 0.05
    assert lowered < 1
    _, child = _line(tmp_path, *words, lr=0.02)
    assert _rates(running.result(child))[0] == pytest.approx(0.02 * lowered, rel=0.11)


def test_a_child_has_its_own_patience_and_its_own_files(tmp_path: Path) -> None:
    words = ("callbacks=[early_stopping,checkpoint]",)
    parent, child = _line(
        tmp_path, *words, "patience=9", child=("patience=7",), lr=0.051
    )
    of_child = running.result(child)
    (stopping,) = [
        state for key, state in of_child["callbacks"].items() if "Early" in key
    ]
    assert stopping["patience"] == 7
    assert of_child["files"].keys() == running.result(parent)["files"].keys()


def test_a_child_that_is_killed_goes_on_from_its_own_checkpoint(
    tmp_path: Path,
) -> None:
    _, whole = _line(tmp_path / "a", lr=0.02)
    parent, spec = _line(tmp_path / "b", lr=0.02)
    for path in Path(spec.folder).rglob("*.*"):
        if path.is_file():
            path.unlink()
    begin = "first on_train_epoch_start"
    running.run(spec, History(), cut_at=1, only=begin)  # after its first epoch
    history = History()
    running.run(spec, history)
    assert list(history.metrics) == [4]
    assert not running.differences(running.result(whole), running.result(spec))
    assert parent.id == "parent"


def test_weights_that_do_not_fit_are_told_with_what_to_do(tmp_path: Path) -> None:
    _line(tmp_path)
    place = Lineage(parent="parent", generation=1, member=1, start=START, until=4)
    spec = make_spec(
        tmp_path / "other", ["width=16"], params={"width": 16}, lineage=place
    )
    outcome = worker.run_trial(spec, History().ask)
    assert outcome.event == "failed"
    assert "weights of parent; what shapes them belongs in scheduler: fixed" in (
        outcome.message
    )

"""What a trial is called and which of its values counts."""

import math

import pytest

from sweeper.experiment.definition import Objective
from sweeper.journal.record import State, TrialRecord
from sweeper.protocol import TrialSpec
from sweeper.system.identity import canonical, derive, trial_id

SPEC = TrialSpec(
    id="abc",
    number=3,
    sweep="s",
    target="m:f",
    config="/c.yaml",
    overrides=("a=1", "b='x,y'"),
    params={"a": 1, "b": None},
    seed=42,
    folder="/f",
    project="/p",
    metric="val/acc",
    mode="max",
    wandb={"mode": "offline", "tags": ("t", "u")},
)


def _trial(values: dict[int, float]) -> TrialRecord:
    return TrialRecord(
        number=0, id="x", params={}, seed=1, state=State.COMPLETE, values=values
    )


def test_a_spec_survives_json() -> None:
    assert TrialSpec.from_json(SPEC.to_json()) == SPEC


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1.0}, {"a": 1}),
        ({"a": 1e-3}, {"a": 0.001}),
        ({"a": [1.0, {"x": 2.0}]}, {"a": (1, {"x": 2})}),
    ],
)
def test_equal_params_have_one_id(one: dict, other: dict) -> None:  # type: ignore[type-arg]
    assert canonical(one) == canonical(other)
    assert trial_id(one, seed=1) == trial_id(other, seed=1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": None}, {"a": "null"}),
        ({"a": 0.1}, {"a": 0.1 + 1e-16 * 2}),
        ({"a": True}, {"a": "true"}),
    ],
)
def test_other_params_have_another_id(one: dict, other: dict) -> None:  # type: ignore[type-arg]
    assert trial_id(one, seed=1) != trial_id(other, seed=1)


def test_ids_are_the_same_on_every_machine() -> None:
    assert trial_id({"model.learning_rate": 1e-3, "model": "a"}, seed=42) == (
        "6abd03b889"
    )


@pytest.mark.parametrize(
    ("values", "mode", "best"),
    [
        ({1: 0.5, 2: 0.9, 3: 0.9}, "max", (2, 0.9)),
        ({1: 0.5, 2: 0.1}, "min", (2, 0.1)),
        ({1: math.nan, 2: 0.1}, "max", (2, 0.1)),
        ({1: math.nan}, "max", None),
        ({}, "max", None),
    ],
)
def test_the_best_epoch_is_the_first_of_the_best(
    values: dict[int, float], mode: str, best: tuple[int, float] | None
) -> None:
    objective = Objective.model_validate({"metric": "m", "mode": mode})
    assert _trial(values).best(objective) == best


def test_streams_of_other_names_differ() -> None:
    seeds = {derive(42, "suggest", n) for n in range(100)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**32 for seed in seeds)

"""Importance of parameters whose effect is known, and prospects by simulation."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from sweeper.experiment.definition import Objective
from sweeper.protocol import Value
from sweeper.statistics.insight import (
    chance_of_better,
    expected_gain,
    importance,
    importance_lines,
)
from sweeper.statistics.leaderboard import Row, rank
from tests.helpers import make_sweep, make_trial

OBJECTIVE = Objective(metric="acc")


def _rows(folder: Path, n: int, *, mode: str = "max") -> tuple[Row, ...]:
    """n random points: 3 x + y is the result, `z` and `one` do nothing."""
    rng = np.random.default_rng(0)
    trials = []
    for i in range(n):
        x, y, z = float(rng.random()), float(rng.random()), "ab"[i % 2]
        value = (3 * x + y) * (1 if mode == "max" else -1)
        params: Mapping[str, Value] = {"x": x, "y": y, "z": z, "one": 1}
        trials.append(make_trial(i, params, value))
    objective = {"metric": "acc", "mode": mode}
    return rank(make_sweep(folder, *trials, objective=objective))


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_parameter_that_matters_more_has_the_larger_share(
    tmp_path: Path, mode: str
) -> None:
    objective = OBJECTIVE.model_copy(update={"mode": mode})
    shares = importance(_rows(tmp_path, 60, mode=mode), objective)
    assert list(shares) == ["x", "y", "z"]  # the largest first, none for `one`
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["x"] > 0.7
    assert shares["z"] < 0.1


def test_choices_that_differ_in_type_only_are_two(tmp_path: Path) -> None:
    trials = [
        make_trial(i, {"x": [True, 1][i % 2], "y": i // 2}, float(i % 2))
        for i in range(12)
    ]
    shares = importance(rank(make_sweep(tmp_path, *trials)), OBJECTIVE)
    assert shares["x"] > shares["y"]


def test_few_rows_say_nothing(tmp_path: Path) -> None:
    rows = _rows(tmp_path, 7)
    assert importance(rows, OBJECTIVE) == {}
    assert importance_lines(rows, OBJECTIVE, is_random=False)[0].startswith(
        "importance: needs"
    )


def test_equal_results_say_nothing(tmp_path: Path) -> None:
    trials = [make_trial(i, {"x": i}, 0.5) for i in range(9)]
    assert importance(rank(make_sweep(tmp_path, *trials)), OBJECTIVE) == {}


def test_prospects_are_those_of_simulated_draws(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(20_000, 30))
    old, new = draws[:, :20].max(1), draws.max(1)
    assert chance_of_better(20, 10) == pytest.approx((new > old).mean(), abs=0.01)
    gain = np.mean([expected_gain(row, 10) for row in draws[:500, :20].tolist()])
    assert gain == pytest.approx((new - old).mean(), abs=0.02)
    text = importance_lines(_rows(tmp_path, 20), OBJECTIVE, is_random=True, more=10)
    assert text[-1].startswith("10 more random trials: 33% chance")

"""Importance against functions whose variance is known, and prospects by simulation."""

from pathlib import Path

import numpy as np
import pytest

from sweeper.statistics.insight import chance_of_better, effects, expected_gain, lines
from sweeper.statistics.leaderboard import Row, rank
from tests.test_leaderboard import make_sweep, make_trial


def _rows(folder: Path, n: int, kind: str) -> tuple[Row, ...]:
    """n random points of x, y in 0..1 and of a choice that does nothing."""
    rng = np.random.default_rng(0)
    trials = []
    for i in range(n):
        x, y, z = float(rng.random()), float(rng.random()), "ab"[i % 2]
        value = {"sum": 3 * x + y, "product": x * y}[kind]
        trials.append(make_trial(i, {"x": x, "y": y, "z": z}, value))
    return rank(make_sweep(folder, *trials))


@pytest.mark.slow
def test_shares_are_those_of_the_variance(tmp_path: Path) -> None:
    found = {e.names: e for e in effects(_rows(tmp_path, 100, "sum"))}
    assert found["x",].share == pytest.approx(0.9, abs=0.06)  # 9 : 1
    assert found["y",].share == pytest.approx(0.1, abs=0.06)
    assert found["z",].share < 0.02
    assert found["x", "y"].share < 0.06


@pytest.mark.slow
def test_what_two_parameters_do_together_is_their_interaction(tmp_path: Path) -> None:
    found = {e.names: e for e in effects(_rows(tmp_path, 100, "product"))}
    # x y of uniform x and y: variances 3 : 3 : 1, in closed form
    assert found["x",].share == pytest.approx(3 / 7, abs=0.08)
    assert found["y",].share == pytest.approx(3 / 7, abs=0.08)
    assert found["x", "y"].share == pytest.approx(1 / 7, abs=0.06)
    assert found["x", "z"].share < 0.03
    assert 0 < found["x",].spread < 0.2


def test_few_rows_say_nothing(tmp_path: Path) -> None:
    rows = _rows(tmp_path, 5, "sum")
    assert effects(rows) == ()
    assert lines(rows, is_random=False)[0].startswith("importance: needs")


def test_prospects_are_those_of_simulated_draws(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(20_000, 30))
    old, new = draws[:, :20].max(1), draws.max(1)
    assert chance_of_better(20, 10) == pytest.approx((new > old).mean(), abs=0.01)
    gain = np.mean([expected_gain(row, 10) for row in draws[:500, :20].tolist()])
    assert gain == pytest.approx((new - old).mean(), abs=0.02)
    said = lines(_rows(tmp_path, 20, "sum"), is_random=True, more=10)
    assert said[-1].startswith("10 more random trials: 33% chance")

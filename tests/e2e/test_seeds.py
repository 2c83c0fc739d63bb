"""A sweep of nothing but seeds, whole, on real digits: ties are marked, nobody wins."""

from pathlib import Path

import pytest

from sweeper.journal import store
from sweeper.statistics import insight
from sweeper.statistics.leaderboard import rank
from tests.e2e.harness import sweeper

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.mark.long
def test_five_seeds_of_two_equal_settings_are_a_tie_without_a_winner(
    tmp_path: Path,
) -> None:
    file = "experiments/seeds_only.yaml"
    done = sweeper("run", file, "trainer.max_epochs=1", "--sweeps", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no winner: 2 of 2 suggestions are tied for the best" in done.stdout
    sweep = store.load_sweep(tmp_path / "seeds_only")
    rows = rank(sweep)
    assert [len(row.values) for row in rows] == [5, 5]
    assert len(set(rows[0].values)) > 1  # seeds do make a difference
    assert all(row.is_tied for row in rows)
    assert insight.verdict(rows, sweep.experiment.objective).winner is None

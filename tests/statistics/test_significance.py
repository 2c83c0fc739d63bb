"""The statistics against scipy, closed forms and simulated sweeps of a known truth."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from sweeper.experiment.definition import Confirm, Objective
from sweeper.journal.record import State, Sweep, TrialRecord
from sweeper.reporting import tables
from sweeper.reporting.tables import tie_text, to_csv
from sweeper.statistics import leaderboard, significance
from sweeper.statistics.insight import verdict, verdict_lines
from sweeper.statistics.leaderboard import delta, rank
from sweeper.statistics.significance import expected_max, t_975
from sweeper.system import correctness
from sweeper.system.correctness import Correctness
from tests.helpers import make_sweep, make_trial
from tests.simulate_statistics import World, equal, one_better, simulate

OBJECTIVE = Objective(metric="acc")


def _rows(values: NDArray[np.float64]) -> list[dict[int, float]]:
    return [dict(enumerate(row.tolist())) for row in values]


def test_the_expected_maximum_is_the_published_one() -> None:
    # Tippett (Biometrika 17, 1925); n = 3 in closed form: 3 / (2 sqrt(pi))
    assert expected_max(3) == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-9)
    for n, value in ((5, 1.16296), (10, 1.53875), (100, 2.50759), (1000, 3.24144)):
        assert expected_max(n) == pytest.approx(value, abs=2e-5)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (5, 10), (371, 372), (372, 372)])
def test_the_interval_of_one_seed_is_wilsons(right: int, n: int) -> None:
    expected = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    got = significance.score_interval([right / n], size=n)
    assert got == pytest.approx((expected.low, expected.high), abs=1e-3)
    correct = np.array([[1.0] * right + [0.0] * (n - right)])
    if 0 < right < n:  # the variance of stored answers has n - 1 in it
        got = significance.score_interval([right / n], correct=correct)
        assert got == pytest.approx((expected.low, expected.high), abs=0.02)


def test_a_difference_over_seeds_is_the_paired_t_test() -> None:
    one, two = [0.90, 0.93, 0.91, 0.95], [0.89, 0.90, 0.91, 0.91]
    expected = stats.ttest_rel(one, two).confidence_interval(0.95)
    got = significance.difference_interval(np.subtract(one, two).tolist())
    assert got == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_a_difference_of_one_seed_has_mcnemars_variance() -> None:
    rng = np.random.default_rng(0)
    one, two = (rng.random((2, 500)) < 0.9).astype(float)
    b, c = float(np.sum(one > two)), float(np.sum(one < two))
    variance = (b + c - (b - c) ** 2 / 500) / 500 / 499  # of the paired proportions
    low, high = significance.difference_interval(
        [float(np.mean(one - two))], correct=(one - two)[None]
    )
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(variance), rel=1e-3)


def test_the_interval_covers_another_validation_set_and_another_seed() -> None:
    """Crossed noise: models of other seeds, sets of other examples, single luck."""
    rng = np.random.default_rng(0)
    truth = float(np.mean(rng.normal(size=10**6) * math.sqrt(1 + 0.09 + 0.25) < 1.2))
    hits = blind = 0
    for _ in range(600):
        seed, example = rng.normal(size=(4, 1)) * 0.3, rng.normal(size=(1, 120))
        answers = (1.2 + seed + rng.normal(size=(4, 120)) * 0.5 > example).astype(float)
        values = answers.mean(axis=1).tolist()
        low, high = significance.score_interval(values, correct=answers)
        hits += low <= truth <= high
        low, high = significance.score_interval(values)
        blind += low <= truth <= high
    assert 0.915 <= hits / 600 <= 0.985
    assert blind / 600 < 0.9  # what seeds alone say is too sure


def test_two_rows_are_compared_by_the_paired_t_test_of_their_seeds() -> None:
    rng = np.random.default_rng(3)
    common = rng.normal(size=6) * 5
    one, two = common + rng.normal(size=6) + 1, common + rng.normal(size=6)
    p = significance.p_values(_rows(-np.stack([one, two])))
    assert p[0] == 1.0
    assert p[1] == pytest.approx(stats.ttest_rel(one, two).pvalue, abs=1e-4)


def test_the_runner_up_of_alike_rows_needs_no_correction() -> None:
    residual = 0.4 * np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]])
    losses = np.array([[1.0], [2.5], [3.0]]) + residual + np.array([5.0, 0.0, 2.0])
    common = float((residual**2).sum() / 4)
    assert significance.noise(_rows(losses)).common == pytest.approx(common)
    alone = 2 * stats.t.sf(np.array([0.0, 1.5, 2.0]) / math.sqrt(2 * common / 3), 4)
    assert 3 * alone[2] > alone[1]  # three pairs of rows
    p = significance.p_values(_rows(losses))
    assert p == pytest.approx((1.0, alone[1], alone[1]))


def test_without_a_winner_gaps_are_corrected_for_the_pairs_that_are_left() -> None:
    residual = np.kron(np.eye(2), [[1.0, -1.0], [-1.0, 1.0]])
    losses = np.array([[0.0], [0.1], [0.2], [9.0]]) + residual
    error = math.sqrt(2 * float((residual**2).sum() / 9) / 4)
    alone = 2 * stats.t.sf(np.array([0.0, 0.1, 0.2, 9.0]) / error, 9)
    p = significance.p_values(_rows(losses))
    assert p[3] == pytest.approx(6 * alone[3])  # six pairs of four rows
    assert p[3] < significance.ALPHA < p[1]


def test_a_missing_value_is_fitted_as_by_least_squares() -> None:
    rng = np.random.default_rng(0)
    rows = _rows(rng.normal(size=(4, 5)) + 3 * rng.normal(size=(1, 5)))
    del rows[1][2], rows[3][0]
    cells = [(i, seed, v) for i, row in enumerate(rows) for seed, v in row.items()]
    design = np.zeros((len(cells), 9))
    for n, (i, seed, _) in enumerate(cells):
        design[n, [i, 4 + seed]] = 1.0
    y = np.array([v for _, _, v in cells])
    residual = y - design @ np.linalg.lstsq(design, y)[0]
    expected = float(residual @ residual) / (18 - 8)
    assert significance.noise(rows).common == pytest.approx(expected)


@pytest.mark.parametrize(
    "rows",
    [
        [{0: 0.5}, {0: 0.4}],  # one seed
        [{0: 0.5, 1: 0.6}, {2: 0.4, 3: 0.3}],  # none shared
        [{0: 0.5, 1: 0.5}, {0: 0.4, 1: 0.4}],  # seeds change nothing
        [{0: 0.5, 1: 0.6}, {0: 0.4}],
    ],
)
def test_without_two_shared_seeds_and_noise_nothing_is_said(
    rows: Sequence[dict[int, float]],
) -> None:
    losses = [{seed: -v for seed, v in row.items()} for row in rows]
    assert math.isnan(significance.p_values(losses)[1])


def test_rows_that_are_equal_seed_by_seed_are_tied() -> None:
    values = {0: 0.5, 1: 0.6, 2: 0.55}
    assert significance.p_values([values, dict(values)]) == (1.0, 1.0)
    assert significance.within([values, values]) == pytest.approx(0.0025)


def test_a_row_that_is_better_over_the_shared_seeds_is_tied() -> None:
    rng = np.random.default_rng(0)
    low, high = _rows(rng.normal(size=(2, 5)) + np.array([[0.0], [9.0]]))
    assert significance.p_values([low, high])[1] < 0.001
    assert significance.p_values([high, low])[1] == 1.0


@pytest.mark.parametrize("shift", [0.0, 40.0])
def test_two_rows_that_vary_most_are_judged_by_their_own_values(shift: float) -> None:
    still = np.array([9.0, 9.01, 8.99, 9.02, 8.98])
    one = np.array([-3.0, 1.0, -2.0, 0.0, -1.5])
    other = np.array([1.5, 2.5, -0.5, -1.0, 2.0])
    # a seed that moves every row alike changes nothing
    seeds = shift * np.array([0.0, 1.0, -0.7, 0.5, -1.2])
    noise = significance.noise(_rows(np.stack([one, other, still]) + seeds))
    variance, degrees = noise.of_gap(0, 1, 5)
    # of three rows Grubbs' two variances add up to that of the differences
    assert variance == pytest.approx(np.var(one - other, ddof=1) / 5)
    assert degrees < noise.degrees
    assert variance > 1.2 * 2 * noise.common / 5


# ---- simulated sweeps; tests/simulate_statistics.py prints the whole table


@pytest.mark.parametrize(
    "world",
    [
        World(name="two", means=equal(2), seeds=3),
        World(name="eight", means=equal(8), seeds=3, common=3.0),
        World(name="unlike", means=[0, 0, -20], stds=[4, 4, 1]),
    ],
    ids=lambda world: world.name,
)
@pytest.mark.slow
@pytest.mark.few(3)
def test_of_400_sweeps_without_a_difference_few_name_a_winner(world: World) -> None:
    result = simulate(world, sweeps=400)
    assert result.winner <= 0.07
    assert result.wrong <= 0.07


@pytest.mark.slow
def test_a_taste_for_other_examples_is_no_difference() -> None:
    world = World(name="t", means=equal(4), seeds=3, examples=200, taste=0.7)
    assert simulate(world, sweeps=100).winner <= 0.07


@pytest.mark.slow
def test_a_difference_of_two_sigma_is_found_as_often_as_stated() -> None:
    for seeds, least, most in ((5, 0.45, 0.72), (10, 0.93, 1.0)):
        world = World(name="e", means=one_better(4, 2.0), seeds=seeds)
        assert least <= simulate(world, sweeps=150).right <= most


# ---- in the leaderboard


def _examples(value: float, n: int = 100, epoch: int = 1) -> Correctness:
    right = round(value * n)
    return Correctness(
        epoch=epoch, value=value, correct="1" * right + "0" * (n - right), order="a"
    )


def _trials(values: dict[int, Sequence[float]]) -> list[TrialRecord]:
    return [
        make_trial(10 * x + seed, {"x": x}, value, seed=seed)
        for x, row in values.items()
        for seed, value in enumerate(row)
    ]


TIED = {1: (0.90, 0.91, 0.93), 2: (0.91, 0.90, 0.92), 3: (0.50, 0.52, 0.49)}


def test_ties_are_marked_and_no_winner_is_named(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, *_trials(TIED))
    rows = rank(sweep)
    assert [tie_text(row) for row in rows] == ["best", "tied", "worse"]
    found = verdict(rows, OBJECTIVE)
    assert found.winner is None
    assert (found.num_tied, found.num_rows, found.seeds) == (2, 3, 3)
    first, second = verdict_lines(rows, (OBJECTIVE,))
    assert first.startswith("no winner: 2 of 3 suggestions are tied for the best")
    assert "more seeds would separate" in first
    assert second.startswith("by chance alone the best of 3 is ")
    assert ",tied," in to_csv(sweep, rows)
    assert "no winner: 2 of 3" in tables.to_markdown(sweep, rows)


def test_a_winner_is_named_where_all_others_are_worse(tmp_path: Path) -> None:
    better = {**TIED, 1: (0.99, 0.985, 0.995)}
    rows = rank(make_sweep(tmp_path, *_trials(better)))
    assert verdict_lines(rows, (OBJECTIVE,))[0].startswith("winner: #1 is better")


@pytest.mark.parametrize(
    ("values", "start"),
    [
        ({1: (0.9,), 2: (0.1,)}, "no winner: each ran with one seed"),
        ({1: (0.9, 0.9), 2: (0.1, 0.1)}, "no winner: seeds change nothing"),
    ],
)
def test_what_cannot_be_told_is_said(
    tmp_path: Path, values: dict[int, Sequence[float]], start: str
) -> None:
    rows = rank(make_sweep(tmp_path, *_trials(values)))
    assert verdict_lines(rows, (OBJECTIVE,))[0].startswith(start)


def test_a_sweep_of_nothing_but_seeds_says_nothing(tmp_path: Path) -> None:
    rows = rank(make_sweep(tmp_path, *_trials({1: (0.9, 0.8, 0.7)})))
    found = verdict(rows, OBJECTIVE)
    assert found.winner is None
    assert verdict_lines(rows, (OBJECTIVE,)) == ()


def test_a_validation_size_gives_one_seed_an_interval(tmp_path: Path) -> None:
    objective = {"metric": "acc", "validation_size": 372}
    (row,) = rank(
        make_sweep(tmp_path, make_trial(0, {"x": 1}, 0.9), objective=objective)
    )
    assert (row.high - row.low) / 2 == pytest.approx(0.0305, abs=1e-3)


def test_stored_answers_give_the_paired_difference_its_interval(tmp_path: Path) -> None:
    trials = [
        TrialRecord(
            number=x,
            id=f"{x}",
            params={"x": x},
            seed=1,
            state=State.COMPLETE,
            values={1: value},
            correctness=_examples(value),
        )
        for x, value in ((1, 0.80), (2, 0.84))
    ]
    rows = rank(make_sweep(tmp_path, *trials, baseline={"x": 1}))
    expected = 1.96 * math.sqrt(0.04 * 0.96 / 99)
    assert rows[0].delta == pytest.approx(0.04)
    assert rows[0].delta_high - rows[0].delta == pytest.approx(expected, rel=1e-3)
    assert not math.isnan(rows[0].low)
    assert delta(rows[1], rows[1])[0] == 0.0


def test_more_seeds_are_as_many_as_the_power_needs() -> None:
    n = 12  # 80 % power for 1.2 sigma, by the noncentral t distribution
    power = stats.nct.sf(t_975(2 * (n - 1)), 2 * (n - 1), 1.2 * math.sqrt(n / 2))
    assert power == pytest.approx(0.8, abs=0.03)


# ---- finalists


def _confirmed(folder: Path, fresh: dict[int, Sequence[float]]) -> Sweep:
    seeds = leaderboard.confirm_seeds(Confirm(top=2, seeds=3), taken=(0, 1, 2))
    again = [
        make_trial(100 + 10 * x + i, {"x": x}, value, seed=seeds[i])
        for x, row in fresh.items()
        for i, value in enumerate(row)
    ]
    return make_sweep(
        folder,
        *_trials(TIED),
        *again,
        seeds={"values": [0, 1, 2], "confirm": {"top": 2, "seeds": 3}},
    )


def test_finalists_count_with_their_fresh_seeds_only(tmp_path: Path) -> None:
    fresh = {1: (0.80, 0.81, 0.79), 2: (0.96, 0.95, 0.94)}
    rows = rank(_confirmed(tmp_path, fresh))
    assert [row.params["x"] for row in rows] == [2, 1, 3]
    assert [row.mean for row in rows] == pytest.approx([0.95, 0.80, 0.50333], abs=1e-4)
    assert [row.is_finalist for row in rows] == [True, True, False]
    assert [tie_text(row) for row in rows] == ["best", "worse", "worse"]
    found = verdict(rows, OBJECTIVE)
    assert found.winner is rows[0]
    assert found.num_rows == 2


def test_fresh_seeds_are_new_and_stay_the_same() -> None:
    confirm = Confirm(top=1, seeds=4)
    seeds = leaderboard.confirm_seeds(confirm, taken=())
    assert len(set(seeds)) == 4
    assert leaderboard.confirm_seeds(confirm, taken=seeds[:1])[:3] == seeds[1:]
    assert leaderboard.confirm_seeds(Confirm(), taken=()) == ()


# ---- stored answers


def test_answers_are_kept_for_the_best_epoch(tmp_path: Path) -> None:
    path = tmp_path / "correctness.json"
    for epoch, value in ((1, 0.5), (2, 0.7), (3, 0.6), (4, 0.7)):
        is_new = correctness.record(path, _examples(value, epoch=epoch), mode="max")
        assert is_new is (epoch < 3)
    assert correctness.read(path) == _examples(0.7, epoch=2)
    assert correctness.record(path, _examples(0.6, epoch=1), mode="max")  # a new start


def test_a_metric_that_is_no_share_of_them_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "correctness.json"
    found = Correctness(epoch=1, value=0.31, correct="10" * 10)
    assert not correctness.record(path, found, mode="min")
    assert correctness.read(path) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", json.dumps({"epoch": None})])
def test_a_damaged_file_is_no_answers(tmp_path: Path, text: str) -> None:
    path = tmp_path / "correctness.json"
    path.write_text(text)
    assert correctness.read(path) is None

"""The statistics against scipy, closed forms and simulated sweeps of a known truth."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

from sweeper.experiment.sections import Confirm, Objective
from sweeper.host import correctness
from sweeper.host.correctness import Correctness
from sweeper.statistics import finalists, intervals, ties
from sweeper.statistics.comparison import delta
from sweeper.statistics.distributions import expected_max, studentized_range_sf, t_975
from sweeper.statistics.leaderboard import rank
from sweeper.statistics.verdict import lines, verdict
from sweeper.trial import State, Sweep, TrialRecord
from sweeper.views import markdown
from sweeper.views.cells import tie_text, to_csv
from tests.simulate_statistics import World, equal, one_better, simulate
from tests.test_leaderboard import make_sweep, make_trial

OBJECTIVE = Objective(metric="acc")


@pytest.mark.parametrize("k", [2, 3, 8, 40])
@pytest.mark.parametrize("degrees", [1, 2, 5, 28, 99_999])
def test_the_studentized_range_is_that_of_scipy(k: int, degrees: int) -> None:
    for q in (0.5, 2.0, 4.0, 12.0):
        expected = stats.studentized_range.sf(q, k, degrees)
        assert studentized_range_sf(q, k=k, degrees=degrees) == pytest.approx(
            expected, abs=1e-5
        )


@pytest.mark.parametrize("degrees", [1.0, 4.5, 30, math.inf])
def test_the_range_of_two_is_the_t_test(degrees: float) -> None:
    for t in (0.3, 1.5, 4.0):
        got = studentized_range_sf(t * math.sqrt(2), k=2, degrees=degrees)
        assert got == pytest.approx(2 * stats.t.sf(t, degrees), abs=1e-5)


def test_the_expected_maximum_is_the_published_one() -> None:
    # Tippett (Biometrika 17, 1925); n = 3 in closed form: 3 / (2 sqrt(pi))
    assert expected_max(3) == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-9)
    for n, value in ((5, 1.16296), (10, 1.53875), (100, 2.50759), (1000, 3.24144)):
        assert expected_max(n) == pytest.approx(value, abs=2e-5)


def test_gamma_derivatives_are_those_of_scipy() -> None:
    x = np.array([0.05, 0.5, 1.0, 3.3, 20.0, 1e5])
    assert ties._digamma(x) == pytest.approx(special.digamma(x), rel=1e-8, abs=1e-8)
    assert ties._trigamma(x) == pytest.approx(special.polygamma(1, x), rel=1e-8)
    for value in (1e-4, 0.5, 30.0):
        inverse = ties._trigamma_inverse(value)
        assert special.polygamma(1, inverse) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (5, 10), (371, 372), (372, 372)])
def test_the_interval_of_one_seed_is_wilsons(right: int, n: int) -> None:
    expected = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    got = intervals.score_interval([right / n], size=n)
    assert got == pytest.approx((expected.low, expected.high), abs=1e-3)
    correct = np.array([[1.0] * right + [0.0] * (n - right)])
    if 0 < right < n:  # the variance of stored answers has n - 1 in it
        got = intervals.score_interval([right / n], correct=correct)
        assert got == pytest.approx((expected.low, expected.high), abs=0.02)


def test_a_difference_over_seeds_is_the_paired_t_test() -> None:
    one, two = [0.90, 0.93, 0.91, 0.95], [0.89, 0.90, 0.91, 0.91]
    expected = stats.ttest_rel(one, two).confidence_interval(0.95)
    got = intervals.difference_interval(np.subtract(one, two).tolist())
    assert got == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_a_difference_of_one_seed_has_mcnemars_variance() -> None:
    rng = np.random.default_rng(0)
    one, two = (rng.random((2, 500)) < 0.9).astype(float)
    b, c = float(np.sum(one > two)), float(np.sum(one < two))
    variance = (b + c - (b - c) ** 2 / 500) / 500 / 499  # of the paired proportions
    low, high = intervals.difference_interval(
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
        low, high = intervals.score_interval(values, correct=answers)
        hits += low <= truth <= high
        low, high = intervals.score_interval(values)
        blind += low <= truth <= high
    assert 0.915 <= hits / 600 <= 0.985
    assert blind / 600 < 0.9  # what seeds alone say is too sure


def test_two_rows_are_compared_by_the_paired_t_test_of_their_seeds() -> None:
    rng = np.random.default_rng(3)
    common = rng.normal(size=6) * 5
    one, two = common + rng.normal(size=6) + 1, common + rng.normal(size=6)
    p = ties.p_values([dict(enumerate(one)), dict(enumerate(two))], sign=1)
    assert p[0] == 1.0
    assert p[1] == pytest.approx(stats.ttest_rel(one, two).pvalue, abs=1e-4)


def test_equal_variances_give_tukeys_test_for_the_worst_row() -> None:
    values = np.array([[3.1, 2.9, 3.3], [2.2, 2.5, 2.1], [1.0, 1.3, 0.9]])
    rows = [dict(enumerate(row)) for row in values]
    known = ties.noise(rows)
    residual = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    pooled = float((residual**2).sum() / 4)
    assert known.pooled == pytest.approx(pooled)
    alike = all(abs(v - pooled) < 1e-9 for v in known.variances)
    q = (values[0].mean() - values[2].mean()) / math.sqrt(pooled / 3)
    if alike:
        expected = stats.studentized_range.sf(q, 3, 4)
        assert ties.p_values(rows, sign=1)[2] == pytest.approx(expected, abs=1e-4)


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
    assert math.isnan(ties.p_values(rows, sign=1)[1])


def test_rows_that_are_equal_seed_by_seed_are_tied() -> None:
    values = {0: 0.5, 1: 0.6, 2: 0.55}
    assert ties.p_values([values, dict(values)], sign=1) == (1.0, 1.0)
    assert ties.within([values, values]) == pytest.approx(0.0025)


def test_losses_are_compared_downwards() -> None:
    rng = np.random.default_rng(0)
    low = dict(enumerate(rng.normal(size=5)))
    high = {seed: 9 + v for seed, v in enumerate(rng.normal(size=5))}
    assert ties.p_values([low, high], sign=-1)[1] < 0.001
    assert ties.p_values([low, high], sign=1)[1] == 1.0


def test_two_rows_that_vary_most_are_judged_by_their_own_values() -> None:
    still = dict(enumerate([-9.0, -9.01, -8.99, -9.02, -8.98]))
    one = dict(enumerate([3.0, -1.0, 2.0, 0.0, 1.5]))
    other = dict(enumerate([-1.5, -2.5, 0.5, 1.0, -2.0]))
    rows = (one, other, still)
    gaps = [one[s] - other[s] for s in one]
    expected = stats.ttest_ind(
        list(one.values()), list(other.values()), equal_var=False
    )
    assert ties.p_values(rows, sign=1)[1] == pytest.approx(expected.pvalue, abs=1e-3)
    # A seed that lifts every row alike: only differences say how much they vary.
    shift = [0.0, 40.0, -30.0, 20.0, -50.0]
    lifted = [{s: v + shift[s] for s, v in row.items()} for row in rows]
    known = ties.noise(lifted)
    assert known.has_seed_effects
    variance, degrees = known.of_pair(0, 1, gaps)
    assert degrees == 4
    assert variance == pytest.approx(np.var(gaps, ddof=1) / 5)


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
    first, second = lines(found)
    assert first.startswith("no winner: 2 of 3 suggestions are tied for the best")
    assert "more seeds would tell" in first
    assert second.startswith("by chance alone the best of 3 lies ")
    assert ",tied," in to_csv(sweep, rows)
    assert "no winner: 2 of 3" in markdown.leaderboard(sweep, rows)


def test_a_winner_is_named_where_all_others_are_worse(tmp_path: Path) -> None:
    better = {**TIED, 1: (0.99, 0.985, 0.995)}
    rows = rank(make_sweep(tmp_path, *_trials(better)))
    assert lines(verdict(rows, OBJECTIVE))[0].startswith("winner: #1 is better")


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
    assert lines(verdict(rows, OBJECTIVE))[0].startswith(start)


def test_a_sweep_of_nothing_but_seeds_says_nothing(tmp_path: Path) -> None:
    rows = rank(make_sweep(tmp_path, *_trials({1: (0.9, 0.8, 0.7)})))
    found = verdict(rows, OBJECTIVE)
    assert found.winner is None
    assert lines(found) == ()


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
    seeds = finalists.confirm_seeds(Confirm(top=2, seeds=3), taken=(0, 1, 2))
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
    seeds = finalists.confirm_seeds(confirm, taken=())
    assert len(set(seeds)) == 4
    assert finalists.confirm_seeds(confirm, taken=seeds[:1])[:3] == seeds[1:]
    assert finalists.confirm_seeds(Confirm(), taken=()) == ()


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

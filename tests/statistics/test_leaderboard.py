"""The leaderboard against closed forms, scipy and the rows that have no value."""

import csv
import io
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sweeper.journal.record import Params, State, Sweep
from sweeper.reporting import tables
from sweeper.statistics.leaderboard import best, best_row, labels, rank, varied
from sweeper.statistics.significance import score_interval, t_975
from tests.helpers import make_sweep, make_trial

NAN, INF = math.nan, math.inf


def _of_values(folder: Path, *values: float, mode: str = "max") -> Sweep:
    trials = [make_trial(i, {"x": i}, value) for i, value in enumerate(values)]
    return make_sweep(folder, *trials, objective={"metric": "acc", "mode": mode})


@pytest.mark.parametrize(
    ("mode", "values", "order", "ranks"),
    [
        ("max", (0.1, 0.9, 0.5), [1, 2, 0], [1, 2, 3]),
        ("min", (0.1, 0.9, 0.5), [0, 2, 1], [1, 2, 3]),
        ("max", (0.5, 0.5, 0.9), [2, 0, 1], [1, 2, 3]),  # equal: by number
        ("max", (NAN, 0.1, NAN), [1, 0, 2], [1, 0, 0]),  # NaN is last, in both modes
        ("min", (NAN, 0.1, NAN), [1, 0, 2], [1, 0, 0]),
        ("max", (INF, 0.1, -INF), [1, 0, 2], [1, 0, 0]),  # infinity is no result
        ("max", (), [], []),
    ],
)
def test_rows_are_ranked_by_value_then_by_number(
    tmp_path: Path,
    mode: str,
    values: tuple[float, ...],
    order: list[int],
    ranks: list[int],
) -> None:
    rows = rank(_of_values(tmp_path, *values, mode=mode))
    assert [row.trials[0].number for row in rows] == order
    assert [row.rank for row in rows] == ranks


def test_the_value_of_a_trial_is_its_best_epoch(tmp_path: Path) -> None:
    trial = make_trial(0, {"x": 1}, {1: 0.2, 2: 0.8, 3: 0.8, 4: NAN, 5: 0.1})
    (row,) = rank(make_sweep(tmp_path, trial))
    assert (row.mean, row.best_epoch) == (0.8, 2)


def test_seeds_of_one_suggestion_are_one_row(tmp_path: Path) -> None:
    values = [0.90, 0.92, 0.97]
    trials = [
        make_trial(2 * i, {"x": 1}, {i + 1: v}, seed=i) for i, v in enumerate(values)
    ]
    other = make_trial(1, {"x": 2.0}, 0.95)
    first, second = rank(make_sweep(tmp_path, *trials, other))
    assert first.trials == (other,)
    assert second.seeds == (0, 1, 2)
    assert second.values == tuple(values)
    assert second.mean == pytest.approx(np.mean(values))
    assert second.std == pytest.approx(np.std(values, ddof=1))
    expected = stats.t.interval(
        0.95, df=2, loc=np.mean(values), scale=stats.sem(values)
    )
    assert (second.low, second.high) == pytest.approx(expected, abs=1e-4)
    assert second.best_epoch == 3


def test_one_and_one_point_zero_are_one_suggestion(tmp_path: Path) -> None:
    trials = make_trial(0, {"x": 1}, 0.1), make_trial(1, {"x": 1.0}, 0.3, seed=7)
    assert len(rank(make_sweep(tmp_path, *trials))) == 1


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    (row,) = rank(_of_values(tmp_path, 0.5))
    assert all(map(math.isnan, (row.std, row.low, row.high)))


@pytest.mark.parametrize("state", [State.WAITING, State.RUNNING, State.PRUNED])
def test_a_seed_without_a_value_does_not_count(tmp_path: Path, state: State) -> None:
    valued = make_trial(0, {"x": 1}, 0.5, seed=1, state=state)
    empty = make_trial(1, {"x": 1}, {}, seed=2, state=state)
    (row,) = rank(make_sweep(tmp_path, valued, empty))
    assert row.values == (0.5,)
    assert row.seeds == (1, 2)
    assert row.states == {state: 2}


def test_a_failed_trial_ranks_behind_every_value(tmp_path: Path) -> None:
    failed = make_trial(0, {"x": 1}, 0.99, state=State.FAILED)
    sweep = make_sweep(tmp_path, failed, make_trial(1, {"x": 2}, 0.1))
    rows = rank(sweep)
    assert [(row.rank, row.params["x"]) for row in rows] == [(1, 2), (0, 1)]
    assert rows[1].best_epoch == 0


def test_deltas_are_to_the_mean_of_the_baseline(tmp_path: Path) -> None:
    trials = [
        make_trial(0, {"x": 1}, 0.4, seed=1),
        make_trial(1, {"x": 1}, 0.6, seed=2),
        make_trial(2, {"x": 2}, 0.8),
        make_trial(3, {"x": 3}, NAN),
    ]
    rows = rank(make_sweep(tmp_path, *trials, baseline={"x": 1}))
    assert [row.is_baseline for row in rows] == [False, True, False]
    assert [row.delta for row in rows[:2]] == pytest.approx([0.3, 0.0])
    assert math.isnan(rows[2].delta)


def test_without_a_baseline_there_is_no_delta(tmp_path: Path) -> None:
    rows = rank(_of_values(tmp_path, 0.1, 0.2))
    assert not any(row.is_baseline for row in rows)
    assert all(math.isnan(row.delta) for row in rows)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"x": 1}, {"x": 1.0, "only": 5}),  # a parameter of one value is left out
        ({"group": 18}, {"group": "18", "x": 1}),  # an option of a group
        ({"x": [1, 2]}, {"x": "[1,2]"}),  # a list is known by its Hydra text
        ({"x": None}, {"x": None}),
    ],
)
def test_the_baseline_is_found_in_the_spelling_of_the_space(
    tmp_path: Path, given: dict[str, object], stored: Params
) -> None:
    (row,) = rank(make_sweep(tmp_path, make_trial(0, stored, 0.5), baseline=given))
    assert row.is_baseline


@pytest.mark.parametrize("stored", [{"x": True}, {"x": 2}, {"y": 1}])
def test_another_point_is_not_the_baseline(tmp_path: Path, stored: Params) -> None:
    trial = make_trial(0, stored, 0.5)
    (row,) = rank(make_sweep(tmp_path, trial, baseline={"x": 1}))
    assert not row.is_baseline


def test_the_best_trial_is_of_the_best_suggestion(tmp_path: Path) -> None:
    steady = [make_trial(i, {"x": 1}, v, seed=i) for i, v in enumerate((0.8, 0.82))]
    lucky = [make_trial(2 + i, {"x": 2}, v, seed=i) for i, v in enumerate((0.9, 0.1))]
    sweep = make_sweep(tmp_path, *steady, *lucky)
    assert best(sweep) == steady[1]
    row = best_row(sweep)
    assert row is not None
    assert row.params == {"x": 1}


@pytest.mark.parametrize("state", [State.FAILED, State.WAITING])
def test_without_a_value_there_is_no_best(tmp_path: Path, state: State) -> None:
    trial = make_trial(0, {"x": 1}, {1: NAN}, state=state)
    sweep = make_sweep(tmp_path, trial)
    assert best(sweep) is None
    assert best_row(sweep) is None


@pytest.mark.parametrize("degrees", [*range(1, 40), 60, 100, 1000, 10**6])
def test_quantiles_of_t_are_those_of_scipy(degrees: int) -> None:
    assert t_975(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=6e-4)


def test_the_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        low, high = score_interval(rng.normal(loc=0.7, scale=0.02, size=4).tolist())
        hits += low <= 0.7 <= high
    assert 0.935 < hits / 2000 < 0.965


def test_varied_names_the_parameters_of_all_trials_in_order(tmp_path: Path) -> None:
    trials = make_trial(0, {"b": 1, "a": 2}, 0.1), make_trial(1, {"a": 1, "c": 2}, 0.1)
    assert varied(make_sweep(tmp_path, *trials)) == ("b", "a", "c")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ()),
        (["lr"], ("lr",)),
        (["a.lr", "lr"], ("a.lr", "lr")),
        (["x.a.lr", "y.a.lr"], ("x.a.lr", "y.a.lr")),
    ],
)
def test_labels_tell_parameters_apart(
    names: list[str], expected: tuple[str, ...]
) -> None:
    assert labels(names) == expected


# ---- as files


def test_csv_keeps_every_digit(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    params: Params = {"x": 1e-3, "name": 'a,"b"\n|c', "flag": True, "none": None}
    trials = [make_trial(i, params, value + i, seed=i) for i in range(2)]
    sweep = make_sweep(tmp_path, *trials, make_trial(2, {"x": 2}, NAN))
    text = tables.to_csv(sweep, rank(sweep))
    first, second = csv.DictReader(io.StringIO(text))
    assert float(first["value"]) == statistics.fmean([value, value + 1])
    assert float(first["x"]) == 1e-3
    assert first["name"] == 'a,"b" |c'
    assert (first["flag"], first["none"]) == ("true", "null")
    assert first["states"] == "2 complete"
    assert first["seeds"] == "0 1"
    assert (second["rank"], second["value"], second["name"]) == ("", "", "")


def test_markdown_cells_hold_what_a_user_wrote_as_text(tmp_path: Path) -> None:
    params: Params = {"x": "a|b", "y": "<script>alert(1)</script>", "z": "[l](u)\n*"}
    sweep = make_sweep(tmp_path, make_trial(0, params, 0.5))
    *_, header, rule, row, _, _ = tables.to_markdown(sweep, rank(sweep)).splitlines()
    assert "<script" not in row
    assert "\\[l](u)" in row
    unescaped = [
        line.replace("\\|", "").strip("|").count("|") for line in (header, rule, row)
    ]
    assert len(set(unescaped)) == 1


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((), "-"),
        ((0.91234,), "0.9123"),
        ((0.90, 0.92, 0.94), "0.92 +- 0.05 (n=3)"),
    ],
)
def test_a_value_shows_its_interval(
    tmp_path: Path, values: tuple[float, ...], text: str
) -> None:
    trials = [make_trial(i, {"x": 1}, v, seed=i) for i, v in enumerate(values)]
    trials = trials or [make_trial(0, {"x": 1}, NAN)]
    (row,) = rank(make_sweep(tmp_path, *trials))
    assert tables.score_text(row.scores[0]) == text

"""Several objectives: fronts, leaderboard, views, and what needs one objective."""

import io
import json
import math
import random
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sweeper import cli, load_sweep
from sweeper.driver import wandb_sweep_run
from sweeper.experiment import space
from sweeper.experiment.definition import changes
from sweeper.experiment.loading import dump, load
from sweeper.journal import recovery, store
from sweeper.journal.journal import Journal
from sweeper.journal.record import State, Stop, Sweep
from sweeper.protocol import Answer, Message, Report
from sweeper.reporting import export, status, tables
from sweeper.statistics import insight, leaderboard, pareto
from sweeper.statistics.leaderboard import trial_results
from sweeper.system.errors import ExperimentError, MetricError, SweeperError
from sweeper.trial.active_trial import ActiveTrial
from tests.helpers import CONTEXT, make_experiment, open_journal

TWO = [{"metric": "acc", "mode": "max"}, {"metric": "size", "mode": "min"}]
# x: 1 is good and large, 2 between, 3 small; 4 is worse than 2 in both.
VALUES = {1: (0.9, 30.0), 2: (0.8, 20.0), 3: (0.7, 10.0), 4: (0.75, 25.0)}
KEYS: dict[str, object] = {
    "objective": TWO,
    "search_space": {"x": [1, 2, 3, 4]},
}


def _run(folder: Path, **keys: object) -> Sweep:
    journal = open_journal(folder, **{**KEYS, **keys})
    while journal.claim("a") is not None:
        spec = journal.start("a")
        acc, size = VALUES[int(str(spec.params["x"]))]
        noise = 0.01 * spec.seed
        for epoch, part in ((1, 0.5), (2, 1.0), (3, 0.9)):
            values = (part * acc + noise, size + epoch)
            metrics = {"acc": values[0], "size": values[1]}
            journal.report("a", Report(epoch=epoch, values=values, metrics=metrics))
        journal.finish("a")
    loaded = load(folder / "toy.yaml")
    sweep = store.Reader(loaded, folder / "sweeps" / "toy").sweep()
    sweep.paths.experiment.write_text(dump(loaded))
    return sweep


# ---- fronts


points = st.lists(
    st.tuples(*[st.integers(min_value=0, max_value=4).map(float)] * 3), max_size=12
)


@given(points)
def test_fronts_are_those_of_peeling(given_points: list[tuple[float, ...]]) -> None:
    left = set(range(len(given_points)))
    expected = [0] * len(given_points)
    number = 0
    while left:
        number += 1
        best = {
            i
            for i in left
            if not any(
                all(
                    a <= b
                    for a, b in zip(given_points[j], given_points[i], strict=True)
                )
                and given_points[j] != given_points[i]
                for j in left
            )
        }
        for i in best:
            expected[i] = number
        left -= best
    array = np.array(given_points, dtype=float).reshape(-1, 3)
    assert pareto.fronts(array) == expected
    found = pareto.order(given_points)
    assert [front for _, front in found] == sorted(expected)
    assert sorted(place for place, _ in found) == list(range(len(given_points)))


def test_the_first_front_is_that_of_optuna() -> None:
    generator = random.Random(1)  # noqa: S311
    study = optuna.create_study(directions=["maximize", "minimize"])
    drawn = [(generator.random(), generator.random()) for _ in range(200)]
    for values in drawn:
        study.add_trial(optuna.create_trial(values=values))
    best = {trial.number for trial in study.best_trials}
    found = pareto.fronts(np.array([(-a, b) for a, b in drawn]))
    assert {place for place, front in enumerate(found) if front == 1} == best


# ---- the leaderboard and what shows it


def test_the_front_comes_first_its_ends_before_all(tmp_path: Path) -> None:
    sweep = _run(tmp_path)
    rows = leaderboard.rank(sweep)
    assert [(row.rank, row.params["x"], row.front) for row in rows] == [
        *((1, 1, 1), (2, 3, 1), (3, 2, 1), (4, 4, 2))
    ]
    # the values of one epoch: the best one by the first objective
    assert rows[0].means == (0.9 + 0.42, 32.0)
    assert all(row.best_epoch == 2 and math.isnan(row.p) for row in rows)
    best = leaderboard.best(sweep)
    assert best is not None
    assert best.params["x"] == 1
    (first, second) = insight.verdict_lines(rows, sweep.experiment.objectives)
    assert first.startswith("Pareto front: 3 of 4 suggestions")
    assert "not tested" in second


def test_each_objective_has_its_mean_over_seeds(tmp_path: Path) -> None:
    sweep = _run(tmp_path, seeds=[0, 10])
    row = leaderboard.rank(sweep)[0]
    assert row.mean == pytest.approx(0.95)
    assert row.low < row.mean
    (size,) = row.others
    assert (size.mean, size.std, size.n) == (32.0, 0.0, 2)


def test_views_show_every_objective(tmp_path: Path) -> None:
    sweep = _run(tmp_path)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(status.status_view(sweep))
    text = console.export_text()
    assert all(word in text for word in ("acc", "size", "front", "dominated"))
    rows = leaderboard.rank(sweep)
    head, first, *_ = tables.to_csv(sweep, rows).splitlines()
    assert head.endswith("ids,parent,size,size std,size low,size high")
    assert ",front," in first
    assert "| acc | size | Pareto |" in tables.to_markdown(sweep, rows)
    columns, values = tables.to_values(sweep, rows)
    assert all(len(line) == len(columns) for line in values)
    summary = wandb_sweep_run.summary(sweep, Stop())
    assert summary["best/size"] == 32.0
    assert "Pareto front" in export.section(sweep)
    shown = status.status_json(sweep)
    assert [o["metric"] for o in shown["objectives"]] == ["acc", "size"]  # type: ignore[attr-defined]
    view = load_sweep(sweep.folder)
    assert list(view.leaderboard["front"]) == [1, 1, 1, 2]
    assert list(view.leaderboard["size"]) == [32.0, 12.0, 22.0, 27.0]
    assert {t.params["x"] for t in view.front} == {1, 2, 3}
    assert view.best == view.front[0]
    assert list(view.curves["size"])[:3] == [31.0, 32.0, 33.0]
    with pytest.raises(SweeperError, match="one ranking needs one objective"):
        tables.rank_all([sweep, sweep])


def test_best_is_a_front_and_one_thing_asks_for_a_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = _run(tmp_path)
    name = str(sweep.folder)
    assert cli.main(["best", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "acc 1.32, size 32  x=1" in lines[0]
    assert cli.main(["best", name, "--json"]) == 0
    front = json.loads(capsys.readouterr().out)["front"]
    assert [found["values"]["size"] for found in front] == [32.0, 12.0, 22.0]
    assert cli.main(["best", name, "--config"]) == 2
    assert "3 trials are on the Pareto front" in capsys.readouterr().err
    assert cli.main(["best", name, "--trial", front[1]["id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"] == {"x": 3}


# ---- the journal


def test_an_epoch_counts_where_every_objective_is_finite(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, **KEYS)
    for values in ((0.9, math.nan), (math.nan, 1.0)):
        assert journal.claim("a") is not None
        journal.start("a")
        journal.report("a", Report(epoch=1, values=values))
        journal.report("a", Report(epoch=2, values=(0.5, 2.0)))
        assert journal.finish("a") is State.COMPLETE
    assert journal.claim("a") is not None
    journal.start("a")
    journal.report("a", Report(epoch=1, values=(0.9, math.inf)))
    assert journal.finish("a") is State.FAILED
    loaded = load(tmp_path / "toy.yaml")
    trials = store.Reader(loaded, tmp_path / "sweeps" / "toy").sweep().trials
    assert [trial_results(t, loaded.objectives) for t in trials] == [
        *((2, (0.5, 2.0)), (2, (0.5, 2.0)), None)
    ]


def test_a_lost_journal_is_rebuilt_with_every_objective(tmp_path: Path) -> None:
    sweep = _run(tmp_path)
    before = [(t.id, t.values, t.others) for t in sweep.trials]
    sweep.paths.journal.unlink()
    found = recovery.repair(sweep.experiment, sweep.paths)
    assert len(found.recovered) == 4
    again = store.Reader(sweep.experiment, sweep.folder).sweep()
    assert [(t.id, t.values, t.others) for t in again.trials] == before


def test_an_objective_that_is_not_measured_is_told(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, **KEYS)
    assert journal.claim("a") is not None
    said: list[tuple[float, ...]] = []

    def ask(message: Message) -> Message:
        assert isinstance(message, Report)
        said.append(message.values)
        return Answer()

    trial = ActiveTrial(spec=journal.start("a"), ask=ask)
    trial.paths.folder.mkdir(parents=True, exist_ok=True)
    trial.report(Report(epoch=1, metrics={"size": 3.0, "loss": 9.0, "acc": 0.5}))
    trial.report(Report(epoch=2, metrics={}))
    assert said == [(0.5, 3.0), ()]
    with pytest.raises(
        MetricError, match=r"'size' is not logged .* did you mean 'siz'"
    ):
        trial.report(Report(epoch=3, metrics={"acc": 0.5, "siz": 3.0}))


def test_another_sweep_of_two_objectives_is_history(tmp_path: Path) -> None:
    _run(tmp_path)
    keys = {**KEYS, "name": "next", "warm_start": "toy", "search": "tpe"}
    loaded = make_experiment(tmp_path, **keys)
    folder = tmp_path / "sweeps" / "next"
    journal = Journal(loaded, space.parse(loaded, {}), folder, CONTEXT)
    assert journal.claim("a") is not None
    points = journal._store.attribute("warm_start")["points"]
    assert [1.32, 32.0] in [point["values"] for point in points]


# ---- the file


@pytest.mark.parametrize(
    ("keys", "place", "message"),
    [
        ({"scheduler": "asha"}, "scheduler", "scheduler: Asha needs one"),
        ({"search": "cmaes"}, "search", "CmaEsSampler needs one objective"),
        ({"budget": {"target": 0.9}}, "budget", "budget.target: 0.9 needs one"),
        ({"budget": {"patience": 3}}, "budget", "budget.patience: 3 needs one"),
        ({"seeds": {"values": [1], "confirm": {"top": 1}}}, "seeds", "confirm.top: 1"),
    ],
)
def test_what_needs_one_objective_says_so(
    tmp_path: Path, keys: dict[str, object], place: str, message: str
) -> None:
    with pytest.raises(ExperimentError, match=message) as error:
        open_journal(tmp_path, **{**KEYS, **keys})
    line = (tmp_path / "toy.yaml").read_text().splitlines()[error.value.line - 1]
    assert place in line or line.startswith("  ")
    assert "this file has 2; remove it, or keep one objective" in str(error.value)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ([], "at least one objective, no metric twice"),
        ([TWO[0], TWO[0]], "at least one objective, no metric twice"),
        ("acc", "a mapping with metric and mode, or a list of such"),
        ([TWO[0], {"mode": "min"}], "objective.1.metric: missing"),
        ([{"metric": "acc", "mod": "max"}], "unknown key 'mod'; did you mean 'mode'"),
        ({"metric": "acc", "mode": "most"}, "objective.mode: 'most': Input should"),
    ],
)
def test_a_wrong_objective_is_told(
    tmp_path: Path, objective: object, message: str
) -> None:
    with pytest.raises(ExperimentError, match=message):
        make_experiment(tmp_path, objective=objective)


def test_another_second_objective_is_another_sweep(tmp_path: Path) -> None:
    old = make_experiment(tmp_path, **KEYS)
    new = make_experiment(tmp_path, **{**KEYS, "objective": TWO[:1]})
    assert changes(old, new) == (
        "objective.metric: 'acc, size' -> 'acc'",
        "objective.mode: 'max, min' -> 'max'",
    )
    path = tmp_path / "copy.yaml"
    path.write_text(dump(old))
    assert load(path).objectives == old.objectives

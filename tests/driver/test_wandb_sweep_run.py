"""The W&B run of a sweep: its table and its summary."""

import csv
import io
from pathlib import Path

from sweeper.driver import wandb_sweep_run
from sweeper.experiment.loading import dump, load
from sweeper.journal import store
from sweeper.journal.record import Stop, StopReason
from sweeper.protocol import Report
from sweeper.reporting import tables
from sweeper.statistics import leaderboard
from sweeper.system.paths import SweepPaths, write_text
from tests.helpers import make_experiment, open_journal


def test_table_and_summary_say_where_the_sweep_stands(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, search_space={"x": [1, 2]})
    for slot, value in (("a", 0.5), ("b", 0.7)):
        journal.claim(slot)
        journal.start(slot)
        journal.report(slot, Report(epoch=1, values=(value,), busy_seconds=1))
        journal.finish(slot)
    folder = tmp_path / "sweeps" / "toy"
    loaded = make_experiment(tmp_path, search_space={"x": [1, 2]})
    write_text(SweepPaths(folder).experiment, dump(loaded))
    sweep = store.load_sweep(folder)
    columns, rows = tables.to_values(sweep, leaderboard.rank(sweep))
    assert columns[:3] == ["rank", "x", "value"]
    assert {len(row) for row in rows} == {len(columns)}
    assert [row[:3] for row in rows] == [[1, 2, 0.7], [2, 1, 0.5]]
    found = wandb_sweep_run.summary(
        sweep, Stop(reason=StopReason.BUDGET, message="hours")
    )
    assert found["best/acc"] == 0.7
    assert found["trials/complete"] == 2
    assert found["stop_reason"] == "budget: hours"
    assert wandb_sweep_run.summary(sweep, Stop())["stop_reason"] == ""


def test_the_table_has_the_columns_and_ranks_of_the_csv(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, seeds=[1, 2])
    while journal.claim("a") is not None:
        x = float(str(journal.start("a").params["x"]))
        journal.report(
            "a", Report(epoch=1, values=(x,), metrics={"acc": x}, busy_seconds=1.0)
        )
        journal.finish("a")
    folder = tmp_path / "sweeps" / "toy"
    sweep = store.Reader(load(tmp_path / "toy.yaml"), folder).sweep()
    columns, rows = tables.to_values(sweep, leaderboard.rank(sweep))
    text = tables.to_csv(sweep, leaderboard.rank(sweep))
    header, *lines = csv.reader(io.StringIO(text))
    assert columns == header
    assert {len(row) for row in rows} == {len(columns)}
    assert [str(row[0]) for row in rows] == [line[0] for line in lines]
    assert [str(row[-1]) for row in rows] == [line[-1] for line in lines]

"""The W&B run of a sweep shows the leaderboard as the files do."""

import csv
import io
from pathlib import Path

from sweeper import export, leaderboard, store, sweep_run
from sweeper.experiment import load
from tests.helpers import open_journal


def test_the_table_has_the_columns_and_ranks_of_the_csv(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, seeds=[1, 2])
    while journal.claim("a") is not None:
        x = float(str(journal.start("a").params["x"]))
        journal.report("a", epoch=1, value=x, metrics={"acc": x}, busy_seconds=1.0)
        journal.finish("a")
    folder = tmp_path / "sweeps" / "toy"
    sweep = store.Reader(load(tmp_path / "toy.yaml"), folder).sweep()
    columns, rows = sweep_run.table(sweep)
    text = export.to_csv(sweep, leaderboard.rank(sweep))
    header, *lines = csv.reader(io.StringIO(text))
    assert columns == header
    assert {len(row) for row in rows} == {len(columns)}
    assert [str(row[0]) for row in rows] == [line[0] for line in lines]
    assert [str(row[-1]) for row in rows] == [line[-1] for line in lines]

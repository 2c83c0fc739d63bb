"""The benchmark counts no run that left out work, and its page is made from numbers."""

import json
import math
import sys
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import measure, overhead, page, scheduling
from bench.measure import Figures
from sweeper.experiment import loading
from sweeper.journal import store


def _work(out: Path, *, trials: int, epochs: int, checkpoints: int) -> None:
    for number in range(trials):
        kept = out / str(number) / "kept"
        kept.mkdir(parents=True)
        rows = [json.dumps({"epoch": n + 1, "acc": 0.5}) for n in range(epochs)]
        (kept.parent / "reports.jsonl").write_text("\n".join(rows))
        for epoch in range(checkpoints):
            (kept / f"{epoch}.ckpt").touch()


@pytest.mark.parametrize(
    ("trials", "epochs", "checkpoints", "missing"),
    [
        (16, 2, 2, ""),
        (15, 2, 2, "15 trials of 16"),
        (16, 1, 2, r"epochs \[1\]"),
        (16, 2, 1, "1 checkpoints of 2"),
    ],
)
def test_a_run_that_leaves_out_work_has_no_row(
    tmp_path: Path, trials: int, epochs: int, checkpoints: int, missing: str
) -> None:
    _work(tmp_path, trials=trials, epochs=epochs, checkpoints=checkpoints)
    if not missing:
        overhead.check(tmp_path)
        return
    with pytest.raises(RuntimeError, match=missing):
        overhead.check(tmp_path)


def test_every_process_of_a_run_is_measured(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}])"
    inner = "import time; a = bytearray(60_000_000); time.sleep(1)"
    figures = measure.run(
        [[sys.executable, "-c", code.format(inner)]], cwd=tmp_path, env={}
    )
    assert figures.peak_bytes > 60_000_000
    assert figures.wall_seconds >= 1


def test_cpu_time_counts_each_process_once() -> None:
    def used(parent: int, own: float, reaped: float) -> measure.Used:
        return measure.Used(parent=parent, own_seconds=own, reaped_seconds=reaped)

    found = {
        10: used(1, 2.0, 5.0),  # waited for 11, of whom 4 were seen, and for others
        11: used(10, 3.0, 1.0),
        12: used(10, 7.0, 0.0),  # not waited for
    }
    assert measure.total_seconds({10: found[10], 11: found[11]}) == 2 + 3 + 1 + 1
    assert measure.total_seconds(found) == 2 + 3 + 7 + 1


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"):
        measure.run(
            [[sys.executable, "-c", "raise ValueError('boom')"]], cwd=tmp_path, env={}
        )


def test_ratios_are_medians_over_rounds() -> None:
    def figures(wall: float) -> Figures:
        return Figures(wall_seconds=wall, cpu_seconds=wall, peak_bytes=2**20)

    rounds = [
        {"sweeper": figures(1.0), "peer": figures(2.0)},
        {"sweeper": figures(2.0), "peer": figures(6.0)},
        {"sweeper": figures(4.0), "peer": figures(40.0)},
    ]
    assert overhead.rows(rounds)[-1] == [
        *("peer", "6.0", "6.0", "1", "3.00", "3.00", "1.00", "3")
    ]


def test_a_missed_goal_is_shown_with_its_reason() -> None:
    goals = [
        page.Goal(text="quick", value=1.0, limit=2, unit="s", reason="unseen"),
        page.Goal(text="slow", value=3.0, limit=2, unit="s", reason="the disk"),
        page.Goal(text="fast", value=3.0, limit=2, is_floor=True),
    ]
    section = page.Section(title="One", lines=["text"], goals=goals)
    body = page.body("a machine", "", [section])
    assert "| quick | at most 2 s | 1 s | met |" in body
    assert "| slow | at most 2 s | 3 s | **missed** |" in body
    assert "| fast | at least 2 | 3 | met |" in body
    assert "- slow: the disk" in body
    assert "unseen" not in body


def test_a_section_that_fails_leaves_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken() -> page.Section:
        raise OSError("no disk")

    shown: list[list[page.Section]] = []
    makers = {"one": broken, "two": lambda: page.Section(title="Two", lines=["2"])}
    assert not bench.measure(makers, lambda found: shown.append(list(found)))
    assert [section.title for section in shown[-1]] == ["One", "Two"]
    assert "OSError: no disk" in shown[-1][0].lines[0]
    assert "no disk" in capsys.readouterr().err


def test_the_page_keeps_what_people_wrote() -> None:
    text = f"before\n{page.BEGIN}\nold\n{page.END}\nafter"
    assert page.replace(text, "new") == f"before\n{page.BEGIN}\nnew\n{page.END}\nafter"
    assert page.replace(page.PAGE.read_text(), "x").count(page.BEGIN) == 1


@pytest.mark.parametrize("way", [scheduling.HOURS, "floor: synced lines"])
def test_a_long_sweep_can_be_measured(way: str, tmp_path: Path) -> None:
    row = scheduling.WAYS[way](tmp_path, 10)
    assert set(row) == {
        *("wall_ms", "cpu_ms", "resume_seconds", "bytes_a_trial", "peak_bytes")
    }


@pytest.mark.parametrize("search", ["grid", "random", "tpe"])
def test_the_end_of_a_long_sweep_can_be_measured(search: str, tmp_path: Path) -> None:
    row = scheduling.sweeper(
        tmp_path, 3, search=search, before=7, limits=scheduling.LIMITS
    )
    assert row["wall_ms"] > 0
    assert math.isnan(row["bytes_a_trial"])  # those before have other rows
    folder = tmp_path / "sweeps" / "bench"
    loaded = loading.load(tmp_path / "bench.yaml")
    counts = [len(t.values) for t in store.Reader(loaded, folder).sweep().trials]
    assert counts == [1] * 7 + [scheduling.REPORTS] * 3


@pytest.mark.slow
def test_a_driver_that_looks_on_is_measured(tmp_path: Path) -> None:
    row = scheduling.WAYS[scheduling.GRID](tmp_path, 10)
    assert 0 < row["driver_bytes"] <= row["closed_bytes"]
    folder = tmp_path / "followed" / "bench"
    assert len((folder / "leaderboard.csv").read_text().splitlines()) == 1 + 10
    assert (folder / "report.html").exists()

"""The benchmark counts no run that left out work, and its page is made from numbers."""

import json
import sys
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import measure, overhead, scheduling
from bench.measure import Figures


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
    row = bench.overhead_table(rounds)[-1]
    assert row == "| peer | 6.0 | 6.0 | 1 | 3.00 | 3.00 |"


def test_the_page_keeps_what_people_wrote() -> None:
    page = f"before\n{bench.BEGIN}\nold\n{bench.END}\nafter"
    assert (
        bench.replace(page, "new") == f"before\n{bench.BEGIN}\nnew\n{bench.END}\nafter"
    )
    assert bench.replace(bench.PAGE.read_text(), "x").count(bench.BEGIN) == 1


@pytest.mark.parametrize("way", ["sweeper, grid", "floor: synced lines"])
def test_a_long_sweep_can_be_measured(way: str, tmp_path: Path) -> None:
    function, kind, _ = scheduling.WAYS[way]
    row = function(tmp_path, 10, kind)
    assert set(row) == {"ms_a_result", "resume_seconds", "bytes_a_trial", "peak_bytes"}

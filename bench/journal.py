"""sweeper's journal in a long sweep: no process of a trial, only what is written."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.clocks import REPORTS, now, row, since
from sweeper.experiment import loading, space
from sweeper.journal.journal import Journal
from sweeper.journal.record import Demand
from sweeper.journal.run_context import RunContext
from sweeper.protocol import Report


def _content(search: str, count: int, limits: Mapping[str, float]) -> str:
    """An experiment file for so many trials."""
    axes = round(math.log10(count))  # of ten values each: a space as people write it
    points = {f"x{axis}": list(range(10)) for axis in range(axes)}
    drawn = {"x": "interval(0, 1)", "y": "interval(0, 1)"}
    content = {
        "name": "bench",
        "search_space": points if search == "grid" else drawn,
        "objective": {"metric": "acc", "mode": "max"},
        "search": search,
        "budget": {"trials": count, **limits},
        "price": {"T4": 0.35},
    }
    return json.dumps(content)


def _drive(journal: Journal, reports: int, usage: Mapping[str, float]) -> int:
    """Claim, start, report and finish all that is owed; how many trials that was.

    Args:
        usage: what each report says of the trial's process.
    """
    done = 0
    while journal.claim("slot") is not None:
        journal.start("slot")
        for epoch in range(1, reports + 1):
            value = 0.5 + epoch / 100
            report = Report(
                epoch=epoch,
                values=(value,),
                metrics={"acc": value, "loss": 1 - value},
                busy_seconds=float(epoch),
                usage=usage,
            )
            journal.report("slot", report)
        journal.finish("slot")
        done += 1
    return done


def measured(
    folder: Path,
    count: int,
    *,
    search: str,
    before: int = 0,
    limits: Mapping[str, float] = {},
) -> dict[str, float]:
    """sweeper's journal, and then a resume of the sweep.

    Args:
        count: trials that are measured.
        before: trials with one report each that were there already, of a grid or
            drawn at random; the size of the file says nothing then.
        limits: on hours and cost, far away; the trials then share cards, and report
            memory and speed.
    """
    context = RunContext(
        demand=Demand(cpus=1.0), slots=2, seed_key="", wandb_mode="none"
    )
    usage: dict[str, float] = {}
    if limits:
        usage = {"peak_bytes": 2e9, "rate": 5.0}
        context = replace(
            context,
            demand=Demand(cpus=1.0, gpus=0.5, accelerator="T4"),
            is_auto=True,
            cards=1,
            device_bytes=15 * 2**30,
        )
    sweep = folder / "sweeps" / "bench"
    file = folder / "bench.yaml"

    def opened(search: str, trials: int) -> Journal:
        file.write_text(_content(search, trials, limits))
        loaded = loading.load(file)
        return Journal(loaded, space.parse(loaded, {}), sweep, context)

    if before:
        drawn = "grid" if search == "grid" else "random"
        assert _drive(opened(drawn, before), 1, usage) == before
    journal = opened(search, before + count)
    begin = now()
    assert _drive(journal, REPORTS, usage) == count
    spent = since(begin)
    begin = now()
    again = opened(search, before + count)
    assert again.claim("slot") is None
    assert again.is_finished()
    resumed = since(begin)
    size = math.nan if before else (sweep / "journal.jsonl").stat().st_size
    return row(spent, count, resumed, size)

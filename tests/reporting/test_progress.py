"""How far a sweep is, and what happened, for people and for programs."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from sweeper.journal.record import Failure, State, Sweep
from sweeper.protocol import FailureKind
from sweeper.reporting import status
from sweeper.reporting.status import events, status_view
from tests.helpers import attempt, make_sweep, make_trial


def _sweep(folder: Path, **keys: object) -> Sweep:
    trials = [
        replace(
            make_trial(0, {"x": 1}, {1: 0.5, 2: 0.6}),
            attempts=(attempt(busy_seconds=10.0),),
        ),
        replace(
            make_trial(1, {"x": 2}, {1: 0.4, 2: 0.7}),
            attempts=(attempt(busy_seconds=30.0),),
        ),
        replace(
            make_trial(2, {"x": 3}, {1: 0.3}, state=State.RUNNING),
            attempts=(
                attempt(card="T4", gpus=144.0, busy_seconds=5.0),
                attempt(gpus=0.25),
            ),
        ),
    ]
    return replace(make_sweep(folder, *trials, **keys), is_running=True)


def test_the_rest_takes_as_long_as_the_median_on_the_slots_that_run(
    tmp_path: Path,
) -> None:
    now = status.progress(_sweep(tmp_path), total=5)
    assert (now.done, now.total) == (2, 5)
    assert now.eta_seconds == (20 - 5) + 2 * 20  # one runs, two wait, one slot
    assert now.gpu_hours == pytest.approx(0.2)
    assert math.isnan(now.cost)  # there is no price


def test_without_a_total_nothing_is_promised(tmp_path: Path) -> None:
    assert status.progress(_sweep(tmp_path)).eta_seconds is None
    budgeted = _sweep(tmp_path, budget={"trials": 4})
    assert status.progress(budgeted).total == 4


def test_the_last_epoch_is_that_of_a_complete_trial(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path, overrides=["trainer.max_epochs=9"])
    assert status.last_epoch(sweep) == 2
    fresh = replace(sweep, trials=sweep.trials[2:])
    assert status.last_epoch(fresh) == 9
    assert status.share(sweep.trials[2], of=2) == 0.5
    assert status.share(sweep.trials[2], of=0) == 0.0


@pytest.mark.parametrize("width", [40, 80, 160])
def test_a_running_sweep_shows_what_is_done_used_and_left(
    tmp_path: Path, width: int
) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    keys = {"budget": {"gpu_hours": 2, "cost": 3}, "price": {"T4": 0.5}}
    console.print(status_view(_sweep(tmp_path, **keys), total=5))
    text = " ".join(console.export_text().split())
    used = ("0.2 of 2 GPU hours", "0.1 of 3 cost", "0.25 GPUs in use")
    for part in ("2 of 5 trials", "about 55.0 s left", *used):
        assert part in text


def test_events_are_lines_for_people_and_data_for_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _sweep(tmp_path)
    failure = Failure(kind=FailureKind.OOM, message="CUDA out of memory")
    trial = replace(
        before.trials[2],
        values={1: 0.3, 2: math.nan},
        attempts=(*before.trials[2].attempts, attempt(failure=failure)),
        state=State.WAITING,
    )
    after = replace(before, trials=(*before.trials[:2], trial))
    found = events(before, after)
    assert [str(event) for event in found] == [
        f"{trial.id} running (start 3)",
        f"{trial.id} epoch 2 acc nan",
        f"{trial.id} oom: CUDA out of memory",
        f"{trial.id} waiting (resumes later)",
    ]
    with status.display(Console(), quiet=False, is_json=True) as display:
        for event in found:
            display.event(event)
        display.event("stopping")
        display.update(after)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = ["start", "epoch", "failure", "waiting", "notice"]
    assert [line["event"] for line in lines] == kinds
    assert lines[1] == {
        "event": "epoch",
        "trial": trial.id,
        "epoch": 2,
        "metric": "acc",
        "value": None,
    }
    assert lines[2]["failure"] == "oom"
    assert lines[0]["params"] == {"x": 3}


def test_the_end_names_the_best_or_none(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path)
    best = {"best": sweep.trials[1].id, "value": 0.7, "epoch": 2}
    assert status.best_summary(sweep) == best
    assert status.best_summary(make_sweep(tmp_path)) == {"best": None}

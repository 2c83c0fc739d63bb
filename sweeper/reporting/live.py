"""A sweep on a terminal while it runs, and as plain data for programs.

Everything that a user wrote is printed as text, never as markup.
"""

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sweeper.journal import best_checkpoint
from sweeper.journal.record import Sweep, TrialRecord
from sweeper.packing import packing_report
from sweeper.reporting.progress import Event
from sweeper.reporting.tables import leaderboard_view, status_view, sweep_state
from sweeper.statistics.leaderboard import best, trial_results
from sweeper.system.text import plain

__all__ = [
    "Display",
    "best_json",
    "display",
    "leaderboard_view",
    "status_json",
    "status_view",
    "sweep_state",
]

MAX_ROWS = 12  # of the leaderboard while it is live
REFRESH_PER_SECOND = 4


class Display(Protocol):
    """A place where a driver shows events and the state of the sweep."""

    def event(self, line: Event | str) -> None:
        """Show one event, or a notice."""

    def update(self, sweep: Sweep) -> None:
        """Show the state of the sweep."""


class Lines:
    """One plain line an event, however long: for pipes and logs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def event(self, line: Event | str) -> None:
        """Print the line."""
        self._console.print(Text(plain(line)), soft_wrap=True)

    def update(self, sweep: Sweep) -> None:
        """Nothing: the events say it."""


class Silence:
    """Shows nothing."""

    def event(self, line: Event | str) -> None:
        """Nothing."""

    def update(self, sweep: Sweep) -> None:
        """Nothing."""


class JsonLines:
    """One JSON object a line on standard output, for programs."""

    def event(self, line: Event | str) -> None:
        """Write the event."""
        if isinstance(line, Event):
            write_json_line(line.kind, trial=line.trial, **line.data)
        else:
            write_json_line("notice", message=line)

    def update(self, sweep: Sweep) -> None:
        """Nothing: the events say it."""


def write_json_line(event: str, **data: object) -> None:
    """Write one event as JSON, at once."""
    sys.stdout.write(json.dumps({"event": event, **data}, allow_nan=False) + "\n")
    sys.stdout.flush()


class Screen:
    """A table that redraws itself in place, below the events.

    Args:
        total: trials of the whole sweep, 0 if unknown.
    """

    def __init__(self, live: Live, *, total: int = 0) -> None:
        self._live = live
        self._total = total
        self._shown: Sweep | None = None

    def event(self, line: Event | str) -> None:
        """Print the line above the table."""
        self._live.console.print(Text(plain(line), style="dim"))

    def update(self, sweep: Sweep) -> None:
        """Redraw, if anything changed."""
        if self._shown is None or self._shown.trials != sweep.trials:
            height = self._live.console.height
            rows = max(3, min(MAX_ROWS, (height - 6) // 3))
            self._live.update(status_view(sweep, max_rows=rows, total=self._total))
            self._shown = sweep


@contextmanager
def display(
    console: Console, *, quiet: bool, is_json: bool = False, total: int = 0
) -> Iterator[Display]:
    """Yield a live table on a terminal, else lines; nothing if `quiet`."""
    if is_json:
        yield JsonLines()
    elif quiet:
        yield Silence()
    elif not console.is_terminal:
        yield Lines(console)
    else:
        live = Live(
            console=console, refresh_per_second=REFRESH_PER_SECOND, transient=True
        )
        with live:
            yield Screen(live, total=total)


def status_json(sweep: Sweep) -> dict[str, object]:
    """Return the sweep as plain data, for `status --json`."""
    return {
        "name": sweep.experiment.name,
        "state": sweep_state(sweep),
        "folder": str(sweep.folder),
        "objectives": [o.model_dump() for o in sweep.experiment.objectives],
        "packing": packing_report.to_json(sweep),
        "trials": [_trial_json(sweep, trial) for trial in sweep.trials],
        "hidden": [trial.id for trial in sweep.hidden],
    }


def _trial_json(sweep: Sweep, trial: TrialRecord) -> dict[str, object]:
    result = trial_results(trial, sweep.experiment.objectives)
    return {
        "number": trial.number,
        "id": trial.id,
        "state": str(trial.state),
        "params": dict(trial.params),
        "seed": trial.seed,
        **_values(sweep, result),
        "best_epoch": result[0] if result else None,
        **best_checkpoint.to_json(best_checkpoint.find(sweep, trial)),
        "epochs": {str(e): _number(v) for e, v in trial.values.items()},
        "metrics": {k: _number(v) for k, v in trial.metrics.items()},
        "starts": trial.starts,
        "code": trial.attempts[-1].code if trial.attempts else "",
        "busy_seconds": trial.busy_seconds,
        "card": trial.card,
        "gpus": trial.demand.gpus,
        "peak_bytes": trial.peak_bytes,
        "utilisation": trial.utilisation,
        "failures": [
            {"kind": str(f.kind), "message": f.message, "step": f.step}
            for f in trial.failures
        ],
    }


def _values(
    sweep: Sweep, result: tuple[int, tuple[float, ...]] | None
) -> dict[str, object]:
    """The first objective; of several each by its name."""
    if result is None:
        return {"value": None}
    objectives = sweep.experiment.objectives
    if len(objectives) == 1:
        return {"value": result[1][0]}
    names = [objective.metric for objective in objectives]
    return {"value": result[1][0], "values": dict(zip(names, result[1], strict=True))}


def best_summary(sweep: Sweep) -> dict[str, object]:
    """Return id, value and epoch of the best trial; None before the first value."""
    trial = best(sweep)
    result = trial_results(trial, sweep.experiment.objectives) if trial else None
    if trial is None or result is None:
        return {"best": None}
    return {"best": trial.id, **_values(sweep, result), "epoch": result[0]}


def best_json(sweep: Sweep, trial: TrialRecord, *, command: str) -> dict[str, object]:
    """Return the best trial as plain data, for `best --json`."""
    paths = sweep.paths.trial(trial.id)
    result = trial_results(trial, sweep.experiment.objectives)
    return {
        "id": trial.id,
        **_values(sweep, result),
        "epoch": result[0] if result else None,
        "params": dict(trial.params),
        "seed": trial.seed,
        "folder": str(paths.folder),
        **best_checkpoint.to_json(best_checkpoint.find(sweep, trial)),
        "command": command,
    }


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None

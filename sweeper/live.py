"""A sweep on a terminal: tables, and what happens while it runs.

Everything that a user wrote is printed as text, never as markup.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeper.export import short, value_text
from sweeper.leaderboard import rank, varied
from sweeper.trial import State, Sweep, Trial

MAX_ROWS = 12  # of the leaderboard while it is live
REFRESH_PER_SECOND = 4
STYLES: Mapping[State, str] = {
    State.WAITING: "dim",
    State.RUNNING: "cyan",
    State.COMPLETE: "green",
    State.PRUNED: "yellow",
    State.FAILED: "red",
}


class Display(Protocol):
    """Where a driver shows what happens."""

    def event(self, line: str) -> None:
        """Show one event."""

    def update(self, sweep: Sweep) -> None:
        """Show where the sweep stands."""


class Lines:
    """One plain line an event: for pipes and logs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def event(self, line: str) -> None:
        """Print the line."""
        self._console.print(Text(line))

    def update(self, sweep: Sweep) -> None:
        """Nothing: the events say it."""


class Silence:
    """Shows nothing."""

    def event(self, line: str) -> None:
        """Nothing."""

    def update(self, sweep: Sweep) -> None:
        """Nothing."""


class Screen:
    """A table that redraws itself in place, below the events."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._shown: Sweep | None = None

    def event(self, line: str) -> None:
        """Print the line above the table."""
        self._live.console.print(Text(line, style="dim"))

    def update(self, sweep: Sweep) -> None:
        """Redraw, if anything changed."""
        if self._shown is None or self._shown.trials != sweep.trials:
            self._live.update(status_view(sweep, max_rows=MAX_ROWS))
            self._shown = sweep


@contextmanager
def display(console: Console, *, quiet: bool) -> Iterator[Display]:
    """What suits the console: a live table on a terminal, else lines, else nothing."""
    if quiet:
        yield Silence()
    elif not console.is_terminal:
        yield Lines(console)
    else:
        live = Live(
            console=console, refresh_per_second=REFRESH_PER_SECOND, transient=True
        )
        with live:
            yield Screen(live)


def status_view(sweep: Sweep, *, max_rows: int | None = None) -> RenderableType:
    """Counts, running trials and the leaderboard."""
    parts: list[RenderableType] = [_headline(sweep)]
    running = [t for t in sweep.trials if t.state is State.RUNNING]
    if running:
        parts.append(_running_table(sweep, running))
    parts.append(leaderboard_view(sweep, max_rows=max_rows))
    return Group(*parts)


def leaderboard_view(sweep: Sweep, *, max_rows: int | None = None) -> RenderableType:
    """The leaderboard, best first."""
    objective = sweep.experiment.objective
    names = varied(sweep)
    rows = rank(sweep)
    table = _table()
    table.add_column("#", justify="right")
    for name in names:
        table.add_column(Text(name.rpartition(".")[2]), overflow="fold")
    table.add_column(Text(f"{objective.metric}"), justify="right")
    has_baseline = any(row.is_baseline for row in rows)
    if has_baseline:
        table.add_column("delta", justify="right")
    table.add_column("epoch", justify="right")
    table.add_column("state")
    table.add_column("id", no_wrap=True)
    for row in rows[:max_rows]:
        states = Counter(trial.state for trial in row.trials)
        base = [Text("baseline" if row.is_baseline else short(row.delta))]
        table.add_row(
            str(row.rank or "-"),
            *(Text(str(row.params.get(name, ""))) for name in names),
            Text(value_text(row), style="bold" if row.rank == 1 else ""),
            *(base if has_baseline else ()),
            str(row.best_epoch or "-"),
            _states(states),
            Text(row.trials[0].id),
        )
    hidden = len(rows) - len(rows[:max_rows])
    return Group(table, Text(f"... {hidden} more", style="dim")) if hidden else table


def _headline(sweep: Sweep) -> Text:
    counts = Counter(trial.state for trial in sweep.trials)
    text = Text(f"{sweep.experiment.name}: {sweep_state(sweep)}  ")
    return text + _states(counts)


def _states(counts: Mapping[State, int]) -> Text:
    parts = [
        Text(f"{counts[state]} {state}", style=STYLES[state])
        for state in State
        if counts.get(state)
    ]
    return Text(", ").join(parts)


def _running_table(sweep: Sweep, trials: list[Trial]) -> Table:
    table = _table()
    for name in ("running", "point", "epoch", sweep.experiment.objective.metric):
        table.add_column(Text(name), overflow="fold")
    for trial in trials:
        epoch, value = next(reversed(trial.values.items()), (0, float("nan")))
        point = " ".join(f"{k.rpartition('.')[2]}={v}" for k, v in trial.params.items())
        table.add_row(Text(trial.id), Text(point), str(epoch), short(value))
    return table


def _table() -> Table:
    return Table(box=None, padding=(0, 2, 0, 0), header_style="bold")


def sweep_state(sweep: Sweep) -> str:
    """State of the sweep as a whole: new, running, interrupted or finished."""
    if sweep.is_running:
        return "running"
    if not sweep.trials:
        return "new"
    is_done = all(trial.state.is_final for trial in sweep.trials)
    return "finished" if is_done else "interrupted"


def status_json(sweep: Sweep) -> dict[str, object]:
    """The sweep as plain data, for `status --json`."""
    return {
        "name": sweep.experiment.name,
        "state": sweep_state(sweep),
        "folder": str(sweep.folder),
        "objective": sweep.experiment.objective.model_dump(),
        "trials": [_trial_json(sweep, trial) for trial in sweep.trials],
    }


def _trial_json(sweep: Sweep, trial: Trial) -> dict[str, object]:
    found = trial.best(sweep.experiment.objective)
    return {
        "number": trial.number,
        "id": trial.id,
        "state": str(trial.state),
        "params": dict(trial.params),
        "seed": trial.seed,
        "value": found[1] if found else None,
        "best_epoch": found[0] if found else None,
        "epochs": {str(e): v if v == v else None for e, v in trial.values.items()},
        "metrics": {k: v if v == v else None for k, v in trial.metrics.items()},
        "starts": trial.starts,
        "busy_seconds": trial.busy_seconds,
        "failures": [
            {"kind": str(f.kind), "message": f.message, "step": f.step}
            for f in trial.failures
        ],
    }


def best_json(sweep: Sweep, trial: Trial, *, command: str) -> dict[str, object]:
    """The best trial as plain data, for `best --json`."""
    paths = sweep.paths.trial(trial.id)
    found = trial.best(sweep.experiment.objective)
    checkpoint = paths.best if paths.best.exists() else paths.last
    return {
        "id": trial.id,
        "value": found[1] if found else None,
        "epoch": found[0] if found else None,
        "params": dict(trial.params),
        "seed": trial.seed,
        "folder": str(paths.folder),
        "checkpoint": str(checkpoint) if checkpoint.exists() else None,
        "command": command,
    }

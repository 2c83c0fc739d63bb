"""State of a sweep: progress, events, a live display, and plain data for programs.

Text of users is never interpreted as markup.
"""

import json
import math
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeper.experiment.defaults import EPOCHS
from sweeper.experiment.definition import cost, epochs
from sweeper.journal import best_checkpoint, spec
from sweeper.journal.record import State, Sweep, TrialRecord
from sweeper.packing import packing_report
from sweeper.protocol import parent_of
from sweeper.reporting.tables import (
    Fitting,
    hidden_rows,
    leaderboard_view,
    point_text,
    rich_table,
)
from sweeper.statistics.leaderboard import best, trial_results
from sweeper.system.text import duration, plain, short

MAX_ROWS = 12  # rows of the live leaderboard
REFRESH_PER_SECOND = 4
STYLES: Mapping[State, str] = {
    State.WAITING: "dim",
    State.RUNNING: "cyan",
    State.COMPLETE: "green",
    State.PRUNED: "yellow",
    State.FAILED: "red",
}


def settled(sweep: Sweep) -> Sweep:
    """Return the sweep; without a driver its running trials become waiting."""
    if sweep.is_running:
        return sweep
    trials = (
        replace(trial, state=State.WAITING) if trial.state is State.RUNNING else trial
        for trial in sweep.trials
    )
    return replace(sweep, trials=tuple(trials))


def sweep_state(sweep: Sweep) -> str:
    """Return the state of the sweep: new, running, interrupted or finished."""
    if sweep.is_running:
        return "running"
    if not sweep.trials:
        return "new"
    is_done = all(trial.state.is_final for trial in sweep.trials)
    return "finished" if is_done else "interrupted"


# ---- progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of a sweep.

    Attributes:
        done: trials that have ended.
        total: trials of the whole sweep, 0 if unknown.
        eta_seconds: seconds until the last trial ends, None if unknown.
        gpu_hours: share of a GPU times hours, summed over all trials.
        cost: cost of these hours at the file's prices; NaN if a card has no price.
    """

    done: int
    total: int
    eta_seconds: float | None
    gpu_hours: float
    cost: float


def progress(sweep: Sweep, *, total: int = 0) -> Progress:
    """Return the progress of the sweep.

    The estimate uses the median duration of ended trials and the current number of
    running trials.

    Args:
        total: trials of the whole sweep; 0 to use the budget's limit.
    """
    total = total or sweep.experiment.budget.trials or 0
    ended = [t for t in sweep.trials if t.state.is_final]
    running = [t for t in sweep.trials if t.state is State.RUNNING]
    eta = None
    if ended and total and running:
        typical = statistics.median(t.busy_seconds for t in ended)
        left = sum(max(0.0, typical - t.busy_seconds) for t in running)
        left += typical * max(0, total - len(ended) - len(running))
        eta = left / len(running)
    return Progress(
        done=len(ended),
        total=total,
        eta_seconds=eta,
        gpu_hours=sum(sum(t.card_seconds.values()) for t in sweep.trials) / 3600,
        cost=sum(cost(sweep.experiment.price, t.card_seconds) for t in sweep.trials),
    )


def used(sweep: Sweep, now: Progress) -> list[str]:
    """Return the GPU hours and the cost so far, with their limits."""
    budget = sweep.experiment.budget
    parts = []
    for name, amount, limit in (
        ("GPU hours", now.gpu_hours, budget.gpu_hours),
        ("cost", now.cost, budget.cost),
    ):
        of = f" of {limit:.4g}" if limit else ""
        if math.isnan(amount):  # shown only if the file limits it
            parts += [f"unknown{of} {name}"] if sweep.experiment.price or limit else []
        else:
            parts += [f"{amount:.3g}{of} {name}"] if amount or limit else []
    return parts


def last_epoch(sweep: Sweep) -> int:
    """Return the number of epochs of a trial; 0 if unknown.

    It comes from the longest complete trial, else from the overrides of all trials.
    """
    complete = [t for t in sweep.trials if t.state is State.COMPLETE]
    seen = max((e for t in complete for e in t.values), default=0)
    by_name = {key.rpartition(".")[2]: n for key, n in epochs(sweep.experiment).items()}
    return seen or next((by_name[name] for name in EPOCHS if name in by_name), 0)


def share(trial: TrialRecord, *, of: int) -> float:
    """Return the reported share of a trial's epochs; 0 if the number is unknown."""
    return min(1.0, max(trial.values, default=0) / of) if of else 0.0


# ---- events


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A change of a trial.

    Attributes:
        kind: "start", "epoch", "failure" or the trial's new state.
        trial: id of the trial.
        text: description for people.
        data: JSON values for programs.
    """

    kind: str
    trial: str
    text: str
    data: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.trial} {self.text}"


def events(before: Sweep | None, after: Sweep) -> tuple[Event, ...]:
    """Return the events between two snapshots, in the order of the trials.

    Args:
        before: the earlier snapshot; with None there are no events.
    """
    if before is None:
        return ()
    old = {trial.id: trial for trial in before.trials}
    metric = after.experiment.objective.metric
    return tuple(
        event
        for trial in after.trials
        if trial is not old.get(trial.id)
        for event in _of_trial(old.get(trial.id), trial, metric=metric)
    )


def _of_trial(
    before: TrialRecord | None, trial: TrialRecord, *, metric: str
) -> Iterator[Event]:
    def event(kind: str, text: str, **data: object) -> Event:
        return Event(kind=kind, trial=trial.id, text=text, data=data)

    starts = before.starts if before else 0
    if trial.starts > starts:
        again = f" (start {trial.starts})" if trial.starts > 1 else ""
        parent = parent_of(trial.lineage)
        again = again or (f" (from {parent})" if parent else "")
        data = {"start": trial.starts, "params": dict(trial.params), "seed": trial.seed}
        yield event("start", f"running{again}", **data)
    for epoch, value in trial.values.items():
        is_nan = math.isnan(value)
        earlier = before.values.get(epoch) if before else None
        is_equal = earlier == value or (
            is_nan and earlier is not None and math.isnan(earlier)
        )
        if not is_equal:
            text = f"epoch {epoch} {metric} {value:.4g}"
            number = value if math.isfinite(value) else None
            yield event("epoch", text, epoch=epoch, metric=metric, value=number)
    failures = len(before.failures) if before else 0
    for failure in trial.failures[failures:]:
        text = f"{failure.kind}: {failure.message}"
        kind, message = str(failure.kind), failure.message
        yield event("failure", text, failure=kind, message=message)
    state = before.state if before else State.WAITING
    if trial.state not in (State.RUNNING, state):
        again = " (resumes later)" if trial.state is State.WAITING else ""
        yield event(str(trial.state), f"{trial.state}{again}")


# ---- on a terminal


def status_view(
    sweep: Sweep, *, max_rows: int | None = None, total: int = 0
) -> RenderableType:
    """Return counts, best value, budget, running trials and leaderboard.

    Args:
        total: trials of the whole sweep, 0 if unknown.
    """
    sweep = settled(sweep)
    parts: list[RenderableType] = [_headline(sweep)]
    if sweep.is_running:
        parts.append(Text("  ".join(_progress_parts(sweep, total))))
    running = [t for t in sweep.trials if t.state is State.RUNNING]
    if running:
        shown = running[:max_rows]
        tables = [_running_table(sweep, shown, is_wide=w) for w in (True, False)]
        parts += [Fitting(tables), *hidden_rows(len(running) - len(shown))]
    parts += [Text(plain(line), style="dim") for line in packing_report.lines(sweep)]
    parts.append(leaderboard_view(sweep, max_rows=max_rows))
    return Group(*parts)


def _headline(sweep: Sweep) -> Text:
    counts = Counter(trial.state for trial in sweep.trials)
    states = [Text(f"{counts[s]} {s}", style=STYLES[s]) for s in State if counts[s]]
    name = plain(sweep.experiment.name)
    text = Text(f"{name}: {sweep_state(sweep)}  ") + Text(", ").join(states)
    trial = best(sweep)
    result = trial_results(trial, sweep.experiment.objectives) if trial else None
    if trial is not None and result is not None:
        values = ", ".join(map(short, result[1]))
        text += Text(f"  best {values} ({trial.id}, epoch {result[0]})")
    return text


def _progress_parts(sweep: Sweep, total: int) -> Iterator[str]:
    now = progress(sweep, total=total)
    if now.total:
        yield f"{_bar(now.done / now.total, 20)} {now.done} of {now.total} trials"
    if now.eta_seconds is not None:
        yield f"about {duration(now.eta_seconds)} left"
    yield from used(sweep, now)
    gpus = sum(t.demand.gpus for t in sweep.trials if t.state is State.RUNNING)
    if gpus:
        yield f"{gpus:.4g} GPUs in use"


def _running_table(
    sweep: Sweep, trials: Sequence[TrialRecord], *, is_wide: bool
) -> Table:
    """Return running trials with their last reports; without points if narrow."""
    heads = ["running", "epoch", sweep.experiment.objective.metric]
    last = last_epoch(sweep)
    lines = []
    for trial in trials:
        epoch, value = max(trial.values.items(), default=(0, math.nan))
        bar = f" {_bar(share(trial, of=last), 10)}" if last and is_wide else ""
        point = [point_text(trial.params)] if is_wide else []
        lines.append([trial.id, f"{epoch}{bar}", short(value), *point])
    return rich_table([*heads, *(["point"] if is_wide else [])], lines)


def _bar(share: float, width: int) -> str:
    """Return a progress bar in ASCII.

    >>> _bar(0.5, 4)
    '[##--]'
    """
    full = round(min(1.0, max(0.0, share)) * width)
    return f"[{'#' * full}{'-' * (width - full)}]"


class Display:
    """Output of a driver for events and the sweep's state; this one shows nothing."""

    def event(self, line: Event | str) -> None:
        """Show one event, or a notice."""

    def update(self, sweep: Sweep) -> None:
        """Show the state of the sweep."""


@dataclass(frozen=True, slots=True)
class Lines(Display):
    """Output of one unwrapped line per event, for pipes and logs."""

    console: Console

    def event(self, line: Event | str) -> None:
        self.console.print(Text(plain(line)), soft_wrap=True)


class JsonLines(Display):
    """Output of one JSON object per line, for programs."""

    def event(self, line: Event | str) -> None:
        if isinstance(line, Event):
            write_json_line(line.kind, trial=line.trial, **line.data)
        else:
            write_json_line("notice", message=line)


def write_json_line(event: str, **data: object) -> None:
    """Write one event as a JSON line, and flush."""
    sys.stdout.write(json.dumps({"event": event, **data}, allow_nan=False) + "\n")
    sys.stdout.flush()


class Screen(Display):
    """A live table below the events.

    Args:
        total: trials of the whole sweep, 0 if unknown.
    """

    def __init__(self, live: Live, *, total: int = 0) -> None:
        self._live = live
        self._total = total
        self._shown: Sweep | None = None

    def event(self, line: Event | str) -> None:
        self._live.console.print(Text(plain(line), style="dim"))

    def update(self, sweep: Sweep) -> None:
        if self._shown is None or self._shown.trials != sweep.trials:
            height = self._live.console.height
            rows = max(3, min(MAX_ROWS, (height - 6) // 3))
            self._live.update(status_view(sweep, max_rows=rows, total=self._total))
            self._shown = sweep


@contextmanager
def display(
    console: Console, *, quiet: bool, is_json: bool = False, total: int = 0
) -> Iterator[Display]:
    """Yield a live table on a terminal, else lines; no output if `quiet`."""
    if is_json:
        yield JsonLines()
    elif quiet:
        yield Display()
    elif not console.is_terminal:
        yield Lines(console)
    else:
        live = Live(
            console=console, refresh_per_second=REFRESH_PER_SECOND, transient=True
        )
        with live:
            yield Screen(live, total=total)


# ---- for programs


def status_json(sweep: Sweep) -> dict[str, object]:
    """Return the sweep as plain data, for `status --json`."""
    sweep = settled(sweep)
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
    values, epoch = _result(sweep, trial)
    return {
        "number": trial.number,
        "id": trial.id,
        "state": str(trial.state),
        "params": dict(trial.params),
        "seed": trial.seed,
        **values,
        "best_epoch": epoch,
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


def _result(sweep: Sweep, trial: TrialRecord) -> tuple[dict[str, object], int | None]:
    """Return the value, with several objectives all values by name, and the epoch."""
    objectives = sweep.experiment.objectives
    result = trial_results(trial, objectives)
    if result is None:
        return {"value": None}, None
    epoch, values = result
    if len(objectives) == 1:
        return {"value": values[0]}, epoch
    names = [objective.metric for objective in objectives]
    return {"value": values[0], "values": dict(zip(names, values, strict=True))}, epoch


def best_summary(sweep: Sweep) -> dict[str, object]:
    """Return id, value and epoch of the best trial; None if no trial has a value."""
    trial = best(sweep)
    if trial is None:
        return {"best": None}
    values, epoch = _result(sweep, trial)
    return {"best": trial.id, **values, "epoch": epoch}


def best_json(sweep: Sweep, trial: TrialRecord) -> dict[str, object]:
    """Return the best trial as plain data, for `best --json`."""
    paths = sweep.paths.trial(trial.id)
    values, epoch = _result(sweep, trial)
    return {
        "id": trial.id,
        **values,
        "epoch": epoch,
        "params": dict(trial.params),
        "seed": trial.seed,
        "folder": str(paths.folder),
        **best_checkpoint.to_json(best_checkpoint.find(sweep, trial)),
        "command": spec.stored_command(paths.spec),
    }


def _number(value: float) -> float | None:
    """Return the value; None for NaN and infinity, which JSON cannot represent."""
    return value if math.isfinite(value) else None

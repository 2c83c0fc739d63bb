"""Tables of a sweep for a terminal of any width.

Everything that a user wrote is printed as text, never as markup.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from sweeper.journal.record import State, Sweep, TrialRecord
from sweeper.packing import packing_report
from sweeper.reporting import progress
from sweeper.reporting.cells import delta_text, point, score_text, tie_text
from sweeper.statistics import insight
from sweeper.statistics.leaderboard import (
    Row,
    best,
    columns,
    labels,
    rank,
    trial_results,
    varied,
)
from sweeper.system.text import duration, plain, short, value_cell

COLUMNS = ("#", "tie", "Pareto", "delta", "epoch", "state", "id", "parent")
UNBOUNDED = 100_000  # columns, to measure what a table would like to have
STYLES: Mapping[State, str] = {
    State.WAITING: "dim",
    State.RUNNING: "cyan",
    State.COMPLETE: "green",
    State.PRUNED: "yellow",
    State.FAILED: "red",
}


@dataclass(frozen=True, slots=True)
class _Fitting:
    """The first of some tables, widest first, that has room; else the last."""

    tables: Sequence[Table]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        free = options.update(max_width=UNBOUNDED)
        fitting = (
            table
            for table in self.tables
            if Measurement.get(console, free, table).maximum <= options.max_width
        )
        yield next(fitting, self.tables[-1])


def status_view(
    sweep: Sweep, *, max_rows: int | None = None, total: int = 0
) -> RenderableType:
    """Return counts, the best so far, budget, running trials and leaderboard.

    Args:
        total: trials of the whole sweep, 0 if unknown.
    """
    parts: list[RenderableType] = [_headline(sweep), *_progress(sweep, total)]
    running = [t for t in sweep.trials if t.state is State.RUNNING]
    if running:
        shown = running[:max_rows]
        tables = [_running_table(sweep, shown, is_wide=w) for w in (True, False)]
        parts += [_Fitting(tables), *_hidden(len(running) - len(shown))]
    parts += [Text(plain(line), style="dim") for line in packing_report.lines(sweep)]
    parts.append(leaderboard_view(sweep, max_rows=max_rows))
    return Group(*parts)


def remarks(sweep: Sweep) -> list[str]:
    """Return notes on where the values of the leaderboard come from."""
    lines = []
    codes = Counter(t.attempts[-1].code for t in sweep.trials if t.attempts)
    if len(codes) > 1:
        parts = [f"{n} trials with {code or 'no commit'}" for code, n in codes.items()]
        lines.append("the project's code has changed: " + ", ".join(parts))
    if any(trial.is_mean for trial in sweep.trials):
        metric = sweep.experiment.objective.metric
        lines.append(
            f"{metric} is logged per step: each value is the mean of an epoch's steps"
        )
    if sweep.hidden:
        lines.append(f"{len(sweep.hidden)} trials hidden: not in the file any more")
    return lines


def leaderboard_view(sweep: Sweep, *, max_rows: int | None = None) -> RenderableType:
    """Return the leaderboard, best first, with its verdict and notes."""
    rows = rank(sweep)
    shown = rows[:max_rows]
    tables = [
        _wide_table(sweep, shown, has_states=True),
        _wide_table(sweep, shown, has_states=False),
        _narrow_table(sweep, shown),
    ]
    said = insight.verdict_lines(rows, sweep.experiment.objectives)
    notes = [Text(plain(line), style="dim") for line in remarks(sweep)]
    hidden = _hidden(len(rows) - len(shown))
    return Group(_Fitting(tables), *hidden, *map(Text, said), *notes)


def _wide_table(sweep: Sweep, rows: Sequence[Row], *, has_states: bool) -> Table:
    """One line a row and one column a parameter."""
    names = varied(sweep)
    table = _table()
    table.add_column("#", justify="right")
    metrics = [objective.metric for objective in sweep.experiment.objectives]
    for label in columns(labels(names), others=[*COLUMNS, *metrics]):
        table.add_column(Text(plain(label)))
    for objective in sweep.experiment.objectives:
        table.add_column(Text(plain(objective.metric)), justify="right")
    has_baseline = bool(sweep.experiment.baseline)
    has_ties = _has_ties(rows)
    if has_ties:
        table.add_column("Pareto" if rows[0].front else "tie")
    if has_baseline:
        table.add_column("delta", justify="right")
    table.add_column("epoch", justify="right")
    if has_states:
        table.add_column("state")
    table.add_column("id")
    has_parents = any(row.parent for row in rows)
    if has_parents:
        table.add_column("parent")
    for row in rows:
        table.add_row(
            _rank(row),
            *(Text(value_cell(row.params.get(name, ""))) for name in names),
            *_values(row),
            *((tie_text(row),) if has_ties else ()),
            *((Text(delta_text(row)),) if has_baseline else ()),
            str(row.best_epoch or "-"),
            *((_states(row.states),) if has_states else ()),
            Text(row.trials[0].id),
            *((Text(row.parent or "-"),) if has_parents else ()),
        )
    return table


def _narrow_table(sweep: Sweep, rows: Sequence[Row]) -> Table:
    """Two lines a row: what came out, and of which point."""
    table = _table()
    table.add_column("#", justify="right", no_wrap=True)
    metrics = ", ".join(plain(o.metric) for o in sweep.experiment.objectives)
    table.add_column(Text(metrics), overflow="fold", no_wrap=False)
    has_baseline = bool(sweep.experiment.baseline)
    for row in rows:
        head = [*_values(row), *([Text(tie_text(row))] if _has_ties(rows) else [])]
        head += [Text(delta_text(row))] if has_baseline else []
        head += [Text(row.trials[0].id), _states(row.states)]
        head += [Text(f"from {row.parent}")] if row.parent else []
        lines = [Text("  ").join(head), Text(point(row.params), style="dim")]
        table.add_row(_rank(row), Text("\n").join(lines))
    return table


def _running_table(
    sweep: Sweep, trials: Sequence[TrialRecord], *, is_wide: bool
) -> Table:
    """Trials with their last report; on a narrow terminal without their points."""
    table = _table()
    metric = plain(sweep.experiment.objective.metric)
    for name in ("running", "epoch", metric, *(("point",) if is_wide else ())):
        table.add_column(Text(name), overflow="fold", no_wrap=False)
    last = progress.last_epoch(sweep)
    for trial in trials:
        epoch, value = max(trial.values.items(), default=(0, math.nan))
        bar = f" {_bar(progress.share(trial, of=last), 10)}" if last else ""
        cells = [trial.id, f"{epoch}{bar if is_wide else ''}", short(value)]
        cells += [point(trial.params)] if is_wide else []
        table.add_row(*map(Text, cells))
    return table


def sweep_state(sweep: Sweep) -> str:
    """Return the state of the sweep: new, running, interrupted or finished."""
    if sweep.is_running:
        return "running"
    if not sweep.trials:
        return "new"
    is_done = all(trial.state.is_final for trial in sweep.trials)
    return "finished" if is_done else "interrupted"


def _headline(sweep: Sweep) -> Text:
    counts = Counter(trial.state for trial in sweep.trials)
    name = plain(sweep.experiment.name)
    text = Text(f"{name}: {sweep_state(sweep)}  ") + _states(counts)
    trial = best(sweep)
    result = trial_results(trial, sweep.experiment.objectives) if trial else None
    if trial is not None and result is not None:
        values = ", ".join(map(short, result[1]))
        text += Text(f"  best {values} ({trial.id}, epoch {result[0]})")
    return text


def _progress(sweep: Sweep, total: int) -> list[Text]:
    """How many trials have ended, what of the budget is used, when the rest ends."""
    if not sweep.is_running:
        return []
    now = progress.progress(sweep, total=total)
    parts = []
    if now.total:
        parts += [f"{_bar(now.done / now.total, 20)} {now.done} of {now.total} trials"]
    if now.eta_seconds is not None:
        parts.append(f"about {duration(now.eta_seconds)} left")
    parts += progress.used(sweep, now)
    gpus = sum(t.demand.gpus for t in sweep.trials if t.state is State.RUNNING)
    parts += [f"{gpus:.4g} GPUs in use"] if gpus else []
    return [Text("  ").join(map(Text, parts))] if parts else []


def _bar(share: float, width: int) -> str:
    """A bar of ASCII, which every terminal shows.

    >>> _bar(0.5, 4)
    '[##--]'
    """
    full = round(min(1.0, max(0.0, share)) * width)
    return f"[{'#' * full}{'-' * (width - full)}]"


def _states(counts: Mapping[State, int]) -> Text:
    parts = [
        Text(f"{counts[state]} {state}", style=STYLES[state])
        for state in State
        if counts.get(state)
    ]
    return Text(", ").join(parts)


def _rank(row: Row) -> str:
    return str(row.rank or "-")


def _values(row: Row) -> list[Text]:
    style = "bold" if row.rank == 1 or row.front == 1 else ""
    return [Text(score_text(score), style=style) for score in row.scores]


def _has_ties(rows: Sequence[Row]) -> bool:
    """Whether the test can say anything, so that a column for it is worth its room."""
    return any(row.front or not math.isnan(row.p) for row in rows[1:])


def _hidden(count: int) -> list[Text]:
    return [Text(f"... {count} more", style="dim")] if count > 0 else []


def _table() -> Table:
    return Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)

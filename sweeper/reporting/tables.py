"""Tables of the leaderboard for terminals of any width, Markdown and files.

Text of users is never interpreted as markup.
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from sweeper.journal.record import State, Sweep
from sweeper.protocol import Params
from sweeper.statistics import insight
from sweeper.statistics.leaderboard import Row, Score, columns, labels, rank, varied
from sweeper.system.errors import SweeperError
from sweeper.system.text import markdown_cell, plain, short, value_cell

MAX_RANKED = 30  # suggestions of a ranking on a terminal
UNBOUNDED = 100_000  # columns of a terminal, to measure the full width of a table


# ---- cells


def score_text(score: Score) -> str:
    """Return a mean with its 95 % interval, if it has one, and the number of seeds."""
    if math.isnan(score.low) or score.low == score.high:
        return short(score.mean)
    half = (score.high - score.low) / 2
    is_even = abs(score.high - score.mean - half) < 0.05 * half
    ends = f"[{short(score.low)}, {short(score.high)}]"
    width = f"+- {half:.2g}" if is_even else ends
    return f"{short(score.mean)} {width} (n={score.n})"


def tie_text(row: Row) -> str:
    """Return the comparison with the best row: "best", "tied", "worse" or "?".

    "tied" means that the difference may be chance, "?" that there are too few seeds.
    With several objectives it is "front" or "dominated"; without a value "".
    """
    if row.rank == 0:
        return ""
    if row.front:
        return "front" if row.front == 1 else "dominated"
    if row.is_worse:
        return "worse"
    if row.rank == 1:
        return "best"
    return "?" if math.isnan(row.p) else "tied"


def delta_text(row: Row) -> str:
    """Return the difference to the baseline, with its 95 % interval if it has one."""
    if row.is_baseline:
        return "baseline"
    if math.isnan(row.delta):
        return "-"
    if math.isnan(row.delta_low):
        return f"{row.delta:+.3g}"
    return f"{row.delta:+.3g} +- {(row.delta_high - row.delta_low) / 2:.2g}"


def state_text(states: Mapping[State, int]) -> str:
    """Return counts by state, such as "2 complete, 1 failed"."""
    return ", ".join(f"{states[s]} {s}" for s in State if states.get(s))


def point_text(params: Params) -> str:
    """Return a point on one line, with short names.

    >>> point_text({"model.lr": 0.001, "model": "resnet18"})
    'lr=0.001 model=resnet18'
    """
    names = labels(tuple(params))
    pairs = zip(names, params.values(), strict=True)
    return plain(" ".join(f"{name}={value_cell(value)}" for name, value in pairs))


def _param(row: Row, *, name: str, is_exact: bool = False) -> str:
    """Return a parameter's value, with all digits if `is_exact`; "" if missing."""
    value = row.params.get(name, "")
    return repr(value) if is_exact and isinstance(value, float) else value_cell(value)


# ---- columns


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its head, and functions for the text and the sort key of a row."""

    head: str
    text: Callable[[Row], str]
    number: Callable[[Row], float | None] = lambda row: None


RANK = Column("rank", lambda row: f"{row.rank or '-'}", lambda r: r.rank or math.inf)
EPOCH = Column(
    "epoch", lambda row: f"{row.best_epoch or '-'}", lambda row: row.best_epoch
)
STATE = Column("state", lambda row: state_text(row.states))
TRIAL = Column("id", lambda row: row.trials[0].id)
TRIALS = Column("ids", lambda row: " ".join(trial.id for trial in row.trials))
PARENT = Column("parent", lambda row: row.parent or "-")


def param_columns(
    sweep: Sweep, *, others: Iterable[Column], is_exact: bool = False
) -> list[Column]:
    """Return a column per parameter; with full names and all digits if `is_exact`."""
    names = varied(sweep)
    heads = columns(
        names if is_exact else labels(names), others=[column.head for column in others]
    )

    def number(row: Row, *, name: str) -> float | None:
        value = row.params.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number else None  # type: ignore[arg-type]

    return [
        Column(
            head,
            partial(_param, name=name, is_exact=is_exact),
            partial(number, name=name),
        )
        for head, name in zip(heads, names, strict=True)
    ]


def result_columns(sweep: Sweep, rows: Sequence[Row]) -> list[Column]:
    """Return columns for the objectives, the comparison and the delta."""
    shown = [
        Column(
            objective.metric,
            lambda row, i=i: score_text(row.scores[i]),  # type: ignore[misc]
            lambda row, i=i: row.means[i],  # type: ignore[misc]
        )
        for i, objective in enumerate(sweep.experiment.objectives)
    ]
    # only if at least one row could be tested
    if any(row.front or not math.isnan(row.p) for row in rows[1:]):
        head = "Pareto" if len(shown) > 1 else "tie"
        shown.append(Column(head, lambda row: tie_text(row) or "-"))
    if sweep.experiment.baseline:
        shown.append(Column("delta", delta_text, lambda row: row.delta))
    return shown


# ---- on a terminal


def rich_table(heads: Iterable[str], lines: Iterable[Iterable[str]]) -> Table:
    """Return a table for a terminal; long cells are wrapped."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for head in heads:
        table.add_column(Text(plain(head)), overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))
    return table


@dataclass(frozen=True, slots=True)
class Fitting:
    """The widest of several tables that fits the terminal, else the last one."""

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


def leaderboard_view(sweep: Sweep, *, max_rows: int | None = None) -> RenderableType:
    """Return the leaderboard for a terminal, with its verdict and notes."""
    rows = rank(sweep)
    shown = rows[:max_rows]
    results = result_columns(sweep, rows)
    parents = [PARENT] if any(row.parent for row in rows) else []
    tables = []
    for last in ([EPOCH, STATE, TRIAL, *parents], [EPOCH, TRIAL, *parents]):
        params = param_columns(sweep, others=[RANK, *results, EPOCH, STATE, TRIAL])
        wide = [RANK, *params, *results, *last]
        cells = [[column.text(row) for column in wide] for row in shown]
        tables.append(rich_table([column.head for column in wide], cells))
    metrics = ", ".join(o.metric for o in sweep.experiment.objectives)
    narrow = rich_table(["rank", metrics], [])
    for row in shown:
        cells_of_row = [c.text(row) for c in (*results, TRIAL, STATE, *parents)]
        point = Text(f"\n{point_text(row.params)}", style="dim")
        narrow.add_row(RANK.text(row), Text("  ".join(cells_of_row)) + point)
    for table in (*tables, narrow):
        table.columns[0].no_wrap = True
        for row, line in zip(shown, table.rows, strict=True):
            line.style = "bold" if row.rank == 1 or row.front == 1 else ""
    verdict = insight.verdict_lines(rows, sweep.experiment.objectives)
    notes = [Text(plain(line), style="dim") for line in remarks(sweep)]
    hidden = hidden_rows(len(rows) - len(shown))
    return Group(Fitting([*tables, narrow]), *hidden, *map(Text, verdict), *notes)


def hidden_rows(count: int) -> list[Text]:
    """Return a line with the number of rows that the table leaves out."""
    return [Text(f"... {count} more", style="dim")] if count > 0 else []


def remarks(sweep: Sweep) -> list[str]:
    """Return notes on the origin of the leaderboard's values."""
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


# ---- in Markdown


def markdown_table(heads: Sequence[str], lines: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown, with markup in its texts escaped."""
    shown = ["| " + " | ".join(map(markdown_cell, line)) + " |" for line in lines]
    head = "| " + " | ".join(map(markdown_cell, heads)) + " |"
    return "\n".join([head, "|" + "---|" * len(heads), *shown])


def to_markdown(sweep: Sweep, rows: Sequence[Row]) -> str:
    """Return the leaderboard as a section with the sweep's name and notes."""
    experiment = sweep.experiment
    last = [
        EPOCH,
        STATE,
        TRIALS,
        *([PARENT] if any(row.parent for row in rows) else []),
    ]
    results = [*result_columns(sweep, rows), *last]
    params = param_columns(sweep, others=[RANK, *results], is_exact=True)
    shown = [RANK, *params, *results]
    table = markdown_table(
        [column.head for column in shown],
        [[column.text(row) for column in shown] for row in rows],
    )
    notes = [
        f"objective: {', '.join(map(str, experiment.objectives))}",
        *insight.verdict_lines(rows, experiment.objectives),
        *remarks(sweep),
    ]
    lines = "\n".join(f"- {markdown_cell(line)}" for line in notes)
    parts = [f"# {experiment.name}", experiment.notes, table, lines]
    return "\n\n".join(filter(None, parts)) + "\n"


# ---- in files

FILE_COLUMNS: Mapping[str, Callable[[Row], object]] = {
    "value": lambda row: row.mean,
    "std": lambda row: row.std,
    "low": lambda row: row.low,
    "high": lambda row: row.high,
    "n": lambda row: len(row.values),
    "p": lambda row: row.p,
    "tied": tie_text,
    "delta": lambda row: row.delta,
    "delta_low": lambda row: row.delta_low,
    "delta_high": lambda row: row.delta_high,
    "best_epoch": lambda row: row.best_epoch or None,
    "states": lambda row: state_text(row.states),
    "seeds": lambda row: " ".join(map(str, row.seeds)),
    "ids": TRIALS.text,
    "parent": lambda row: row.parent,
}


def to_values(
    sweep: Sweep, rows: Sequence[Row]
) -> tuple[list[str], list[list[object]]]:
    """Return columns and values of the leaderboard; None for a missing value.

    The rank comes first, then the parameters, then the results.
    """
    names = varied(sweep)
    metrics = [objective.metric for objective in sweep.experiment.objectives[1:]]
    others = [f"{m}{end}" for m in metrics for end in ("", " std", " low", " high")]
    results = [*FILE_COLUMNS, *others]
    header = ["rank", *columns(names, others=["rank", *results]), *results]
    lines = []
    for row in rows:
        values = [column(row) for column in FILE_COLUMNS.values()]
        values += [v for s in row.others for v in (s.mean, s.std, s.low, s.high)]
        params = [row.params.get(name) for name in names]
        lines.append([row.rank or None, *params, *map(_finite, values)])
    return header, lines


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_csv(sweep: Sweep, rows: Sequence[Row]) -> str:
    """Return the leaderboard as CSV with all digits; missing values are empty."""
    names = varied(sweep)
    header, lines = to_values(sweep, rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row, line in zip(rows, lines, strict=True):
        params = [_param(row, name=name, is_exact=True) for name in names]
        writer.writerow([line[0], *params, *line[1 + len(names) :]])
    return out.getvalue()


# ---- over several sweeps


def rank_all(sweeps: Sequence[Sweep]) -> list[tuple[Sweep, Row]]:
    """Return all suggestions with a value, best first; ties in the sweeps' order.

    The comparison is fair only if data, epochs and seeds of the sweeps are alike. This
    is not checked.

    Raises:
        SweeperError: the objectives of two sweeps differ, or a sweep has several.
    """
    first = sweeps[0].experiment
    if len(first.objectives) > 1:
        raise SweeperError(
            f"{first.name}: several objectives, {_objective(sweeps[0])}; one ranking "
            "needs one objective; report each sweep alone"
        )
    for sweep in sweeps[1:]:
        if sweep.experiment.objectives != first.objectives:
            raise SweeperError(
                f"{first.name} and {sweep.experiment.name}: objectives "
                f"{_objective(sweeps[0])} and {_objective(sweep)}; one ranking needs "
                "one objective; report them one by one"
            )
    pairs = [(sweep, row) for sweep in sweeps for row in rank(sweep) if row.rank]
    return sorted(pairs, key=lambda pair: first.objective.loss(pair[1].mean))


def _objective(sweep: Sweep) -> str:
    return ", ".join(map(str, sweep.experiment.objectives))


def ranking(sweeps: Sequence[Sweep]) -> tuple[list[str], list[list[str]]]:
    """Return heads and cells of a ranking over several sweeps."""
    heads = ["rank", "sweep", _objective(sweeps[0]), "epoch", "trial", "point"]
    lines = []
    for position, (sweep, row) in enumerate(rank_all(sweeps), start=1):
        result = [score_text(row.scores[0]), EPOCH.text(row), TRIAL.text(row)]
        name = plain(sweep.experiment.name)
        lines.append([f"{position}", name, *result, point_text(row.params)])
    return heads, lines


def ranking_view(sweeps: Sequence[Sweep]) -> RenderableType:
    """Return the ranking for a terminal."""
    heads, lines = ranking(sweeps)
    hidden = hidden_rows(len(lines) - MAX_RANKED)
    return Group(rich_table(heads, lines[:MAX_RANKED]), *hidden)

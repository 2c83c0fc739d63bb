"""Tables of a sweep as text: CSV for programs, Markdown for notes; pure."""

import csv
import io
import math
from collections.abc import Mapping, Sequence

from sweeper.leaderboard import Row, varied
from sweeper.trial import State, Sweep

FIGURES = (
    "value",
    "std",
    "low",
    "high",
    "delta",
    "best_epoch",
    "states",
    "seeds",
    "ids",
)


def to_csv(sweep: Sweep, rows: Sequence[Row]) -> str:
    """The leaderboard as CSV with all digits; an empty cell is no value."""
    names = varied(sweep)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["rank", *names, *FIGURES])
    for row in rows:
        writer.writerow(
            [
                row.rank or "",
                *(_exact(row, name) for name in names),
                *(_digits(v) for v in (row.mean, row.std, row.low, row.high)),
                _digits(row.delta),
                row.best_epoch or "",
                state_text(row.states),
                " ".join(map(str, row.seeds)),
                " ".join(trial.id for trial in row.trials),
            ]
        )
    return out.getvalue()


def to_markdown(sweep: Sweep, rows: Sequence[Row]) -> str:
    """The leaderboard as a Markdown section with the sweep's name and notes."""
    names = varied(sweep)
    objective = sweep.experiment.objective
    header = ["rank", *names, f"{objective.metric} ({objective.mode})", "delta", "ids"]
    lines = [f"# {sweep.experiment.name}", ""]
    if sweep.experiment.notes:
        lines += [sweep.experiment.notes, ""]
    lines.append("| " + " | ".join(cell(name) for name in header) + " |")
    lines.append("|" + "---|" * len(header))
    for row in rows:
        cells = [
            str(row.rank or "-"),
            *(_exact(row, name) for name in names),
            value_text(row),
            short(row.delta),
            " ".join(trial.id for trial in row.trials),
        ]
        lines.append("| " + " | ".join(cell(text) for text in cells) + " |")
    return "\n".join(lines) + "\n"


def value_text(row: Row) -> str:
    """Mean with the half width of its interval, where there is one.

    The number of seeds stands behind it, since one seed has no interval.
    """
    if math.isnan(row.low):
        return short(row.mean)
    half = (row.high - row.low) / 2
    return f"{short(row.mean)} +- {half:.2g} (n={len(row.values)})"


def short(value: float) -> str:
    """Four digits; "-" for NaN.

    >>> short(0.912345), short(float("nan"))
    ('0.9123', '-')
    """
    return "-" if math.isnan(value) else f"{value:.4g}"


def plain(text: object) -> str:
    """What a user wrote on one line, without characters that move a cursor.

    >>> plain("red" + chr(27) + "[31m" + chr(10) + "end")
    'red [31m end'
    """
    return "".join(c if c.isprintable() else " " for c in str(text))


def value_cell(value: object) -> str:
    """A parameter's value in a table: six digits of a number, else as it is.

    >>> value_cell(0.000123456789), value_cell("resnet18"), value_cell(True)
    ('0.000123457', 'resnet18', 'true')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.6g}" if isinstance(value, float) else plain(value)


def state_text(states: Mapping[State, int]) -> str:
    """Counts by state, in the states' order: "2 complete, 1 failed"."""
    return ", ".join(f"{states[s]} {s}" for s in State if states.get(s))


def _exact(row: Row, name: str) -> str:
    """A parameter with all its digits; "" where the row is older than it."""
    value = row.params.get(name, "")
    return repr(value) if isinstance(value, float) else value_cell(value)


def _digits(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def cell(text: str) -> str:
    """One cell of a Markdown table: no column more, no markup."""
    for mark in "\\|*_`[":
        text = text.replace(mark, f"\\{mark}")
    return plain(text.replace("&", "&amp;").replace("<", "&lt;"))

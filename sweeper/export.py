"""Tables of a sweep as text: CSV for programs, Markdown for notes; pure."""

import csv
import io
import math
from collections.abc import Sequence

from sweeper.leaderboard import Row, varied
from sweeper.trial import Sweep

FIGURES = ("value", "std", "low", "high", "delta", "best_epoch", "seeds", "ids")


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
                *(row.params.get(name, "") for name in names),
                *(_digits(v) for v in (row.mean, row.std, row.low, row.high)),
                _digits(row.delta),
                row.best_epoch or "",
                " ".join(str(trial.seed) for trial in row.trials),
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
    lines.append("| " + " | ".join(_escape(name) for name in header) + " |")
    lines.append("|" + "---|" * len(header))
    for row in rows:
        cells = [
            str(row.rank or "-"),
            *(str(row.params.get(name, "")) for name in names),
            value_text(row),
            short(row.delta),
            " ".join(trial.id for trial in row.trials),
        ]
        lines.append("| " + " | ".join(_escape(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def value_text(row: Row) -> str:
    """Mean with the half width of its interval, where there is one.

    The number of seeds stands behind it, since one seed has no interval.
    """
    if math.isnan(row.mean):
        return "-"
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


def _digits(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")

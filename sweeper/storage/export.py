"""Tables of a sweep as text: CSV for programs, Markdown for notes; pure."""

import csv
import io
import math
from collections.abc import Mapping, Sequence

from sweeper.statistics import leaderboard, verdict
from sweeper.statistics.leaderboard import Row, Score, varied
from sweeper.trial import State, Sweep

FIGURES = (
    "value",
    "std",
    "low",
    "high",
    "n",
    "p",
    "tied",
    "delta",
    "delta_low",
    "delta_high",
    "best_epoch",
    "states",
    "seeds",
    "ids",
    "parent",
)


def to_csv(sweep: Sweep, rows: Sequence[Row]) -> str:
    """The leaderboard as CSV with all digits; an empty cell is no value."""
    names = varied(sweep)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    others = ["rank", *columns(sweep)]
    shown = leaderboard.columns(names, others=others)
    writer.writerow(["rank", *shown, *columns(sweep)])
    for row in rows:
        known = ["" if value is None else value for value in figures(row)]
        writer.writerow([row.rank or "", *(_exact(row, n) for n in names), *known])
    return out.getvalue()


def columns(sweep: Sweep) -> list[str]:
    """Names of what `figures` gives of a row."""
    others = [
        f"{objective.metric}{end}"
        for objective in sweep.experiment.objectives[1:]
        for end in ("", " std", " low", " high")
    ]
    return [*FIGURES, *others]


def figures(row: Row) -> list[object]:
    """What a row says besides its rank and its point; None where it says nothing."""
    return [
        *map(_known, (row.mean, row.std, row.low, row.high)),
        len(row.values),
        _known(row.p),
        tie_text(row),
        *map(_known, (row.delta, row.delta_low, row.delta_high)),
        row.best_epoch or None,
        state_text(row.states),
        " ".join(map(str, row.seeds)),
        " ".join(trial.id for trial in row.trials),
        row.parent,
        *(_known(v) for s in row.others for v in (s.mean, s.std, s.low, s.high)),
    ]


def to_markdown(sweep: Sweep, rows: Sequence[Row]) -> str:
    """The leaderboard as a Markdown section with the sweep's name and notes."""
    names = varied(sweep)
    objectives = sweep.experiment.objectives
    has_parents = any(row.parent for row in rows)
    tied = "tied" if len(objectives) == 1 else "Pareto"
    others = [*map(str, objectives), tied, "delta", "ids"]
    others += ["parent"] if has_parents else []
    shown = leaderboard.columns(names, others=["rank", *others])
    header = ["rank", *shown, *others]
    lines = [f"# {sweep.experiment.name}", ""]
    if sweep.experiment.notes:
        lines += [sweep.experiment.notes, ""]
    lines.append("| " + " | ".join(cell(name) for name in header) + " |")
    lines.append("|" + "---|" * len(header))
    for row in rows:
        cells = [
            str(row.rank or "-"),
            *(_exact(row, name) for name in names),
            *map(score_text, row.scores),
            tie_text(row) or "-",
            delta_text(row),
            " ".join(trial.id for trial in row.trials),
            *([row.parent or "-"] if has_parents else []),
        ]
        lines.append("| " + " | ".join(cell(text) for text in cells) + " |")
    said = verdict.said(rows, objectives)
    lines += ["", *(f"- {cell(line)}" for line in said)] if said else []
    return "\n".join(lines) + "\n"


def value_text(row: Row) -> str:
    """The first objective as `score_text`."""
    return score_text(row.scores[0])


def score_text(score: Score) -> str:
    """Mean with its 95 % interval, where there is one, and the number of seeds."""
    if math.isnan(score.low) or score.low == score.high:
        return short(score.mean)
    half = (score.high - score.low) / 2
    is_even = abs(score.high - score.mean - half) < 0.05 * half
    ends = f"[{short(score.low)}, {short(score.high)}]"
    width = f"+- {half:.2g}" if is_even else ends
    return f"{short(score.mean)} {width} (n={score.n})"


def tie_text(row: Row) -> str:
    """How a row stands to the best one: "best", "tied", "worse"; "" without a value.

    "tied" says that its difference to the best may be chance, "?" that too few seeds
    ran to say anything. With several objectives: "front" or "dominated".
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
    """Difference to the baseline, with its 95 % interval where it has one."""
    if row.is_baseline:
        return "baseline"
    if math.isnan(row.delta):
        return "-"
    if math.isnan(row.delta_low):
        return f"{row.delta:+.3g}"
    return f"{row.delta:+.3g} +- {(row.delta_high - row.delta_low) / 2:.2g}"


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

    A text that looks like a value of another type is quoted.

    >>> value_cell(0.000123456789), value_cell("resnet18"), value_cell(True)
    ('0.000123457', 'resnet18', 'true')
    >>> value_cell(2), value_cell("2"), value_cell(2.0), value_cell("null")
    ('2', "'2'", '2.0', "'null'")
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        text = f"{value:.6g}"
        return f"{text}.0" if text.lstrip("-").isdecimal() else text
    text = plain(value)
    return f"'{text}'" if isinstance(value, str) and _is_like_another(text) else text


def _is_like_another(text: str) -> bool:
    """Tell whether a text reads as null, a boolean or a number."""
    try:
        float(text)
    except ValueError:
        return text.lower() in ("null", "none", "true", "false")
    return True


def state_text(states: Mapping[State, int]) -> str:
    """Counts by state, in the states' order: "2 complete, 1 failed"."""
    return ", ".join(f"{states[s]} {s}" for s in State if states.get(s))


def _exact(row: Row, name: str) -> str:
    """A parameter with all its digits; "" where the row is older than it."""
    value = row.params.get(name, "")
    return repr(value) if isinstance(value, float) else value_cell(value)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def cell(text: str) -> str:
    """One cell of a Markdown table: no column more, no markup."""
    for mark in "\\|*_`[":
        text = text.replace(mark, f"\\{mark}")
    return plain(text.replace("&", "&amp;").replace("<", "&lt;"))

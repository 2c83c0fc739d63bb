"""The leaderboard as cells of text, as a table of values, and as CSV; pure."""

import csv
import io
import math
from collections.abc import Mapping, Sequence

from sweeper.journal.record import State, Sweep
from sweeper.protocol import Params
from sweeper.statistics import leaderboard
from sweeper.statistics.leaderboard import Row, Score
from sweeper.system.text import plain, short, value_cell

COLUMNS = (
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


def table(sweep: Sweep, rows: Sequence[Row]) -> tuple[list[str], list[list[object]]]:
    """Return names and values of the leaderboard's columns; None where there is none.

    The rank comes first, then the parameters, then the results.
    """
    names = leaderboard.varied(sweep)
    metrics = [objective.metric for objective in sweep.experiment.objectives[1:]]
    others = [f"{m}{end}" for m in metrics for end in ("", " std", " low", " high")]
    results = ("rank", *COLUMNS, *others)
    header = ["rank", *leaderboard.columns(names, others=results), *results[1:]]
    return header, [
        [row.rank or None, *(row.params.get(name) for name in names), *_results(row)]
        for row in rows
    ]


def _results(row: Row) -> list[object]:
    return [
        *map(_finite, (row.mean, row.std, row.low, row.high)),
        len(row.values),
        _finite(row.p),
        tie_text(row),
        *map(_finite, (row.delta, row.delta_low, row.delta_high)),
        row.best_epoch or None,
        state_text(row.states),
        " ".join(map(str, row.seeds)),
        " ".join(trial.id for trial in row.trials),
        row.parent,
        *(_finite(v) for s in row.others for v in (s.mean, s.std, s.low, s.high)),
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def to_csv(sweep: Sweep, rows: Sequence[Row]) -> str:
    """Return the leaderboard as CSV with all digits; an empty cell has no value."""
    names = leaderboard.varied(sweep)
    header, lines = table(sweep, rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row, line in zip(rows, lines, strict=True):
        params = [exact(row, name) for name in names]
        results = line[1 + len(names) :]
        writer.writerow(["" if v is None else v for v in (line[0], *params, *results)])
    return out.getvalue()


def exact(row: Row, name: str) -> str:
    """Return a parameter with all its digits; "" where the row does not have it."""
    value = row.params.get(name, "")
    return repr(value) if isinstance(value, float) else value_cell(value)


def point(params: Params) -> str:
    """Return a point on one line, with short names.

    >>> point({"model.lr": 0.001, "model": "resnet18"})
    'lr=0.001 model=resnet18'
    """
    names = leaderboard.labels(tuple(params))
    pairs = zip(names, params.values(), strict=True)
    return plain(" ".join(f"{name}={value_cell(value)}" for name, value in pairs))


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
    """Return how a row compares with the best one: "best", "tied", "worse" or "?".

    "tied" means that the difference may be chance, "?" that too few seeds ran to tell.
    With several objectives: "front" or "dominated"; without a value "".
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
    """Return counts by state, in the states' order: "2 complete, 1 failed"."""
    return ", ".join(f"{states[s]} {s}" for s in State if states.get(s))

"""One ranking over the suggestions of several sweeps; pure.

Only sweeps with one objective can be compared, and only as far as their data, epochs
and seeds are alike, which the reader has to know.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from sweeper.errors import SweeperError
from sweeper.statistics.leaderboard import Row, labels, rank
from sweeper.storage.export import cell, plain, value_cell, value_text
from sweeper.trial import Params, Sweep

MAX_ROWS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One suggestion of one sweep; `rank` counts over all sweeps, from 1."""

    rank: int
    sweep: Sweep
    row: Row


def rank_all(sweeps: Sequence[Sweep]) -> tuple[Ranked, ...]:
    """Every suggestion that has a value, best first; equal ones in the sweeps' order.

    Raises:
        SweeperError: two sweeps have different objectives.
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
    sign = -1 if first.objective.mode == "max" else 1
    pairs = [(sweep, row) for sweep in sweeps for row in rank(sweep) if row.rank]
    pairs.sort(key=lambda pair: sign * pair[1].mean)
    return tuple(
        Ranked(rank=position, sweep=sweep, row=row)
        for position, (sweep, row) in enumerate(pairs, start=1)
    )


def _objective(sweep: Sweep) -> str:
    return ", ".join(map(str, sweep.experiment.objectives))


def point(params: Params) -> str:
    """A point on one line, with short names.

    >>> point({"model.lr": 0.001, "model": "resnet18"})
    'lr=0.001 model=resnet18'
    """
    names = labels(tuple(params))
    pairs = zip(names, params.values(), strict=True)
    return plain(" ".join(f"{name}={value_cell(value)}" for name, value in pairs))


def table(ranked: Sequence[Ranked]) -> Table:
    """The ranking for a terminal."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for name in _head(ranked):
        shown.add_column(Text(plain(name)), overflow="fold")
    for item in ranked[:MAX_ROWS]:
        shown.add_row(*map(Text, _cells(item)))
    if len(ranked) > MAX_ROWS:
        shown.add_row(Text(f"... {len(ranked) - MAX_ROWS} more", style="dim"))
    return shown


def to_markdown(ranked: Sequence[Ranked]) -> str:
    """The ranking as a Markdown table, all of it."""
    head = _head(ranked)
    lines = ["| " + " | ".join(map(cell, head)) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(map(cell, _cells(item))) + " |" for item in ranked]
    return "\n".join(lines) + "\n"


def _head(ranked: Sequence[Ranked]) -> list[str]:
    metric = _objective(ranked[0].sweep) if ranked else "value"
    return ["rank", "sweep", metric, "epoch", "trial", "point"]


def _cells(item: Ranked) -> list[str]:
    row = item.row
    return [
        str(item.rank),
        plain(item.sweep.experiment.name),
        value_text(row),
        str(row.best_epoch),
        row.trials[0].id,
        point(row.params),
    ]

"""One ranking over the suggestions of several sweeps; pure.

Only sweeps with one objective can be compared, and only as far as their data, epochs
and seeds are alike, which the reader has to know.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from sweeper.journal.record import Sweep
from sweeper.reporting.cells import point, score_text
from sweeper.statistics.leaderboard import Row, rank
from sweeper.system.errors import SweeperError
from sweeper.system.text import plain

MAX_ROWS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One suggestion of one sweep; `rank` counts over all sweeps, from 1."""

    rank: int
    sweep: Sweep
    row: Row


def rank_all(sweeps: Sequence[Sweep]) -> tuple[Ranked, ...]:
    """Return all suggestions with a value, best first; ties in the sweeps' order.

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
    pairs = [(sweep, row) for sweep in sweeps for row in rank(sweep) if row.rank]
    pairs.sort(key=lambda pair: first.objective.loss(pair[1].mean))
    return tuple(
        Ranked(rank=position, sweep=sweep, row=row)
        for position, (sweep, row) in enumerate(pairs, start=1)
    )


def _objective(sweep: Sweep) -> str:
    return ", ".join(map(str, sweep.experiment.objectives))


def table(ranked: Sequence[Ranked]) -> Table:
    """Return the ranking for a terminal."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for name in header(ranked):
        shown.add_column(Text(plain(name)), overflow="fold")
    for item in ranked[:MAX_ROWS]:
        shown.add_row(*map(Text, line(item)))
    if len(ranked) > MAX_ROWS:
        shown.add_row(Text(f"... {len(ranked) - MAX_ROWS} more", style="dim"))
    return shown


def header(ranked: Sequence[Ranked]) -> list[str]:
    """Return the names of the columns."""
    metric = _objective(ranked[0].sweep) if ranked else "value"
    return ["rank", "sweep", metric, "epoch", "trial", "point"]


def line(item: Ranked) -> list[str]:
    """Return the cells of one suggestion."""
    row = item.row
    return [
        str(item.rank),
        plain(item.sweep.experiment.name),
        score_text(row.scores[0]),
        str(row.best_epoch),
        row.trials[0].id,
        point(row.params),
    ]

"""Show how two trials differ: config, result, last metrics."""

import argparse
from collections.abc import Sequence

from sweeper import exit_codes
from sweeper.commands import sweeps

EXAMPLE = "sweeper diff lr_sweep/best lr_sweep/3f9a"


def arguments(parser: argparse.ArgumentParser) -> None:
    for name in ("a", "b"):
        parser.add_argument(
            name,
            help="SWEEP/TRIAL, by id, number or `best`; SWEEP means its best trial",
        )


def run(args: argparse.Namespace) -> int:
    """Print the differences; nothing if there are none."""
    from rich.console import Console

    from sweeper.reporting import trial_files
    from sweeper.statistics.leaderboard import trial_result
    from sweeper.system.text import value_cell

    (left, first), (right, second) = (
        sweeps.find_reference(args, name) for name in (args.a, args.b)
    )
    console = Console(highlight=False)
    one = trial_files.config(left.paths.trial(first.id))
    two = trial_files.config(right.paths.trial(second.id))
    _print(console, "config", trial_files.differences(one, two), args)
    results = [
        value_cell(result[1]) if result else "-"
        for result in (
            trial_result(first, left.experiment.objective),
            trial_result(second, right.experiment.objective),
        )
    ]
    metrics = trial_files.differences(
        {k: value_cell(v) for k, v in first.metrics.items()},
        {k: value_cell(v) for k, v in second.metrics.items()},
    )
    best = [("best " + left.experiment.objective.metric, results[0], results[1])]
    _print(console, "result", [*best, *metrics], args)
    return exit_codes.FINISHED


def _print(
    console: object,
    title: str,
    lines: Sequence[tuple[str, str, str]],
    args: argparse.Namespace,
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    assert isinstance(console, Console)  # noqa: S101  # rich is a late import
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for head in (title, args.a, args.b):
        table.add_column(Text(head), overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))
    console.print(table)

"""Say which parameters matter, and what more trials may bring.

Shares of the variance explained by a random forest, with their spread over its trees.
"""

import argparse

from sweeper import exits
from sweeper.commands import sweeps

EXAMPLE = "sweeper insight lr_sweep --more 20"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    sweeps.add_name(parser)
    parser.add_argument("--more", type=int, default=10, help="trials to come")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    from sweeper.statistics import insight, leaderboard, verdict

    sweep = sweeps.find(args)
    rows = leaderboard.rank(sweep)
    is_random = sweep.experiment.search in ("random", "sobol")
    logs = [
        name
        for space in sweep.experiment.spaces
        for name, given in space.items()
        if "log" in str(given)
    ]
    more = max(1, args.more)
    if len(sweep.experiment.objectives) > 1:
        print(f"of {sweep.experiment.objective.metric}, the first objective:")
    for line in insight.lines(rows, logs=logs, is_random=is_random, more=more):
        print(line)
    for line in verdict.said(rows, sweep.experiment.objectives):
        print(line)
    return exits.FINISHED

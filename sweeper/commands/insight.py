"""Show which parameters matter, and what more trials may bring.

The importance of a parameter for a result in the best quarter is from PED-ANOVA.
"""

import argparse

from sweeper.commands import common
from sweeper.statistics import insight, leaderboard

EXAMPLE = "sweeper insight lr_sweep --more 20"


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_name(parser)
    parser.add_argument(
        "--more", type=int, default=10, help="number of further random trials"
    )


def run(args: argparse.Namespace) -> None:
    sweep = common.find(args)
    rows = leaderboard.rank(sweep)
    experiment = sweep.experiment
    if len(experiment.objectives) > 1:
        print(f"of {experiment.objective.metric}, the first objective:")
    is_random = experiment.search in ("random", "sobol")
    text = insight.importance_lines(
        rows, experiment.objective, is_random=is_random, more=max(1, args.more)
    )
    for line in (*text, *insight.verdict_lines(rows, experiment.objectives)):
        print(line)

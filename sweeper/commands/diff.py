"""Show how two trials differ: config, result, last metrics."""

import argparse

from sweeper.commands import common
from sweeper.reporting.tables import rich_table
from sweeper.reporting.trial_files import config, differences
from sweeper.statistics.leaderboard import trial_result
from sweeper.system.text import value_cell

EXAMPLE = "sweeper diff lr_sweep/best lr_sweep/3f9a"


def arguments(parser: argparse.ArgumentParser) -> None:
    for name in ("a", "b"):
        parser.add_argument(
            name,
            help="SWEEP/TRIAL, by id, number or `best`; SWEEP means its best trial",
        )


def run(args: argparse.Namespace) -> None:
    pairs = [common.find_reference(args, name) for name in (args.a, args.b)]
    objective = pairs[0][0].experiment.objective
    configs, results, metrics = [], [], []
    for sweep, trial in pairs:
        configs.append(config(sweep.paths.trial(trial.id)))
        result = trial_result(trial, sweep.experiment.objective)
        results.append(value_cell(result[1]) if result else "-")
        metrics.append({k: value_cell(v) for k, v in trial.metrics.items()})
    best = (f"best {objective.metric}", *results)
    for title, lines in (
        ("config", differences(*configs)),
        ("result", [best, *differences(*metrics)]),
    ):
        common.console().print(rich_table([title, args.a, args.b], lines))

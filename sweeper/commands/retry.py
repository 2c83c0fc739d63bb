"""Put failed trials back in the queue of a sweep."""

import argparse

from sweeper.commands import common
from sweeper.journal.recovery import requeue

EXAMPLE = "sweeper retry lr_sweep"


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_name(parser)
    trials = parser.add_mutually_exclusive_group()
    trials.add_argument(
        "trials", nargs="*", default=[], help="ids or numbers of failed trials"
    )
    trials.add_argument(
        "--failed", action="store_true", help="retry all failed trials (the default)"
    )


def run(args: argparse.Namespace) -> None:
    sweep = common.find(args)
    ids = requeue(sweep, [common.find_trial(sweep, name).id for name in args.trials])
    print(f"{len(ids)} failed trials wait for the next `sweeper run`")

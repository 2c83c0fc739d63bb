"""Put failed trials back in the queue of a sweep."""

import argparse

from sweeper import exit_codes
from sweeper.commands import sweeps

EXAMPLE = "sweeper retry lr_sweep"


def arguments(parser: argparse.ArgumentParser) -> None:
    sweeps.add_name(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "trials", nargs="*", default=[], help="ids or numbers of failed trials"
    )
    which.add_argument(
        "--failed", action="store_true", help="retry all failed trials (the default)"
    )


def run(args: argparse.Namespace) -> int:
    """Queue the trials; they start at the next `sweeper run`."""
    from sweeper.journal.recovery import requeue

    sweep = sweeps.find(args)
    ids = requeue(sweep, [sweeps.find_trial(sweep, name).id for name in args.trials])
    print(f"{len(ids)} failed trials wait for the next `sweeper run`")
    return exit_codes.FINISHED

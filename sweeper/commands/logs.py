"""Print the output of a trial, or the events of the driver."""

import argparse
import sys
import time

from sweeper.commands import common
from sweeper.system.errors import SweepNotFoundError

EXAMPLE = "sweeper logs lr_sweep 3f9a -f"
POLL_SECONDS = 0.5


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_name(parser)
    parser.add_argument(
        "trial",
        nargs="?",
        default="",
        help="id or number of a trial (default: the driver's events)",
    )
    parser.add_argument(
        "-f", "--follow", action="store_true", help="keep printing new lines"
    )


def run(args: argparse.Namespace) -> None:
    sweep = common.find(args)
    path = sweep.paths.log
    if args.trial:
        path = sweep.paths.trial(common.find_trial(sweep, args.trial).id).log
    if not path.exists():
        raise SweepNotFoundError(f"{path}: nothing is logged yet")
    with path.open(encoding="utf-8", errors="replace") as file:
        sys.stdout.write(file.read())
        while args.follow:
            time.sleep(POLL_SECONDS)
            sys.stdout.write(file.read())
            sys.stdout.flush()

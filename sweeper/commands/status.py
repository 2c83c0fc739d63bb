"""Show the state of a sweep, once or until it ends."""

import argparse
import time

from sweeper.commands import common
from sweeper.journal import store
from sweeper.reporting import status

EXAMPLE = "sweeper status lr_sweep --watch"
POLL_SECONDS = 1.0


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_name(parser)
    common.add_json(parser)
    parser.add_argument(
        "-w", "--watch", action="store_true", help="keep watching until the sweep ends"
    )


def run(args: argparse.Namespace) -> None:
    """Show the sweep; with `--watch` a live table, or lines if output is a pipe."""
    sweep = common.find(args)
    console = common.console()
    if args.watch:
        reader = store.Reader(sweep.experiment, sweep.folder)
        with status.display(console, quiet=False, is_json=args.json) as display:
            sweep = reader.sweep()
            display.update(sweep)
            while sweep.is_running:
                time.sleep(POLL_SECONDS)
                before, sweep = sweep, reader.sweep()
                for event in status.events(before, sweep):
                    display.event(event)
                display.update(sweep)
    if not args.json:
        console.print(status.status_view(sweep))
    elif not args.watch:
        common.print_json(status.status_json(sweep))

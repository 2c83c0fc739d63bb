"""Show the state of a sweep, once or until it ends."""

import argparse
import json
import time

from sweeper import exit_codes
from sweeper.commands import sweeps

EXAMPLE = "sweeper status lr_sweep --watch"
POLL_SECONDS = 1.0


def arguments(parser: argparse.ArgumentParser) -> None:
    sweeps.add_name(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "-w", "--watch", action="store_true", help="keep watching until the sweep ends"
    )


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from sweeper.reporting import live

    sweep = sweeps.find(args)
    if args.watch:
        return _watch(args)
    if args.json:
        print(json.dumps(live.status_json(sweep)))
    else:
        Console(highlight=False).print(live.status_view(sweep))
    return exit_codes.FINISHED


def _watch(args: argparse.Namespace) -> int:
    """Follow the sweep: a table on a terminal, lines in a pipe."""
    from rich.console import Console

    from sweeper.journal import store
    from sweeper.reporting import live
    from sweeper.reporting.progress import events

    sweep = sweeps.find(args)
    reader = store.Reader(sweep.experiment, sweep.folder)
    console = Console(highlight=False)
    with live.display(console, quiet=False, is_json=args.json) as display:
        before = reader.sweep()
        display.update(before)
        while before.is_running:
            time.sleep(POLL_SECONDS)
            after = reader.sweep()
            for event in events(before, after):
                display.event(event)
            display.update(after)
            before = after
    if not args.json:
        console.print(live.status_view(before))
    return exit_codes.FINISHED

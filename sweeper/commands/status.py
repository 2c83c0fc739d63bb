"""Show where a sweep stands."""

import argparse
import json

from sweeper import exits
from sweeper.commands import sweeps

EXAMPLE = "sweeper status lr_sweep"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    sweeps.add_name(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    """Print the state, now."""
    from rich.console import Console

    from sweeper import live

    sweep = sweeps.find(args)
    if args.json:
        print(json.dumps(live.status_json(sweep)))
    else:
        Console(highlight=False).print(live.status_view(sweep))
    return exits.FINISHED

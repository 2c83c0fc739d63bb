"""Show the best trial of a sweep, or one thing of it."""

import argparse
import json

from sweeper import exits
from sweeper.commands import sweeps

EXAMPLE = "sweeper best lr_sweep --ckpt"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    sweeps.add_name(parser)
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--json", action="store_true", help="for programs")
    one.add_argument("--config", action="store_true", help="its config only")
    one.add_argument("--ckpt", action="store_true", help="its checkpoint only")
    one.add_argument("--command", action="store_true", help="how to repeat it")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    from sweeper.scheduling import spec
    from sweeper.views import live

    sweep = sweeps.find(args)
    best = sweeps.find_trial(sweep, sweeps.BEST)
    command = spec.stored_command(sweep.paths.trial(best.id).spec)
    data = live.best_json(sweep, best, command=command)
    if args.json:
        print(json.dumps(data))
    elif args.ckpt:
        print(data["checkpoint"])
    elif args.command:
        print(command)
    elif args.config:
        print(sweep.paths.trial(best.id).config.read_text(encoding="utf-8"), end="")
    else:
        for key, value in data.items():
            print(f"{key}: {value}")
    return exits.FINISHED

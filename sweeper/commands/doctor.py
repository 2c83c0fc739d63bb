"""Look at this machine: versions, GPUs, disk, shared memory, W&B and Ray."""

import argparse

from sweeper import exits
from sweeper.errors import SweeperError

EXAMPLE = "sweeper doctor --ray"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("--ray", action="store_true", help="start a small Ray, too")


def run(args: argparse.Namespace) -> int:
    """Print one line a finding; exit code 2 where one needs mending."""
    from sweeper.running import health

    problems = 0
    for finding in health.examine(args.sweeps, has_ray_started=args.ray):
        print(f"{finding.topic}: {finding.text}", flush=True)
        if finding.advice:
            print(f"  -> {finding.advice}")
            problems += 1
    return SweeperError.exit_code if problems else exits.FINISHED

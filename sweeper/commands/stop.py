"""Pause a running sweep, from any terminal that sees its folder."""

import argparse

from sweeper import exit_codes
from sweeper.commands import sweeps

EXAMPLE = "sweeper stop lr_sweep"
arguments = sweeps.add_name


def run(args: argparse.Namespace) -> int:
    """Request a stop from the driver; do not wait for it."""
    sweep = sweeps.find(args)
    if not sweep.is_running:
        print(f"{sweep.experiment.name} is not running")
        return exit_codes.FINISHED
    sweep.paths.stop_request.touch()
    print(f"asked {sweep.experiment.name} to pause its trials at their next epoch")
    return exit_codes.FINISHED

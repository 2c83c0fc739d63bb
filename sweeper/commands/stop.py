"""Pause a running sweep, from any terminal that sees its folder."""

import argparse

from sweeper.commands import common

EXAMPLE = "sweeper stop lr_sweep"
arguments = common.add_name


def run(args: argparse.Namespace) -> None:
    """Request a stop from the driver, without waiting for it."""
    sweep = common.find(args)
    if not sweep.is_running:
        print(f"{sweep.experiment.name} is not running")
        return
    sweep.paths.stop_request.touch()
    print(f"asked {sweep.experiment.name} to pause its trials at their next epoch")

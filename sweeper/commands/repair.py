"""Rebuild a damaged journal from itself and the trials' folders."""

import argparse

from sweeper import exits
from sweeper.commands import sweeps

EXAMPLE = "sweeper repair lr_sweep"
arguments = sweeps.add_name


def run(args: argparse.Namespace) -> int:
    """Repair the journal and print the damage and the recovered trials."""
    from sweeper.host.paths import SweepPaths
    from sweeper.scheduling.repair import repair
    from sweeper.storage import store

    paths = SweepPaths(sweeps.find_folder(args, args.name))
    done = repair(store.load_experiment(paths), paths)
    if not done.damage and not done.recovered:
        print(f"{paths.folder}: nothing to repair")
        return exits.FINISHED
    if done.damage:
        print(f"damage: {done.damage}")
        print(f"{done.num_lost} records after it are lost; the old file is {done.kept}")
    print(f"{len(done.recovered)} trials taken from their folders")
    print("`sweeper run` resumes the sweep")
    return exits.FINISHED

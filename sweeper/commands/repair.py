"""Rebuild a damaged journal from itself and the trials' folders."""

import argparse

from sweeper.commands import common
from sweeper.journal import store
from sweeper.journal.recovery import repair
from sweeper.system.paths import SweepPaths

EXAMPLE = "sweeper repair lr_sweep"
arguments = common.add_name


def run(args: argparse.Namespace) -> None:
    paths = SweepPaths(common.find_folder(args, args.name))
    done = repair(store.load_experiment(paths), paths)
    if not done.damage and not done.recovered:
        print(f"{paths.folder}: nothing to repair")
        return
    if done.damage:
        print(f"damage: {done.damage}")
        print(f"{done.num_lost} records after it are lost; the old file is {done.kept}")
    print(f"{len(done.recovered)} trials taken from their folders")
    print("`sweeper run` resumes the sweep")

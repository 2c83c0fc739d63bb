"""Upload the offline W&B runs of a sweep, in the order of their training."""

import argparse
import subprocess
import sys
from collections.abc import Iterator

from sweeper.commands import common
from sweeper.journal.record import Sweep
from sweeper.system import wandb
from sweeper.system.errors import SweeperError
from sweeper.system.wandb import Fragment

EXAMPLE = "sweeper sync lr_sweep"


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_name(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="check the files, upload nothing"
    )


def run(args: argparse.Namespace) -> int:
    """Check every fragment, then upload those that W&B does not have yet."""
    waiting = []
    for name, fragment in _fragments(common.find(args)):
        reason = _why_not(fragment)
        print(f"{name} {fragment.file.parent.name} {_contents(fragment)}{reason}")
        if not reason:
            waiting.append(str(fragment.file.parent))
    if args.dry_run or not waiting:
        print(f"{len(waiting)} to upload")
        return 0
    if not wandb.has_login():
        raise SweeperError(
            f"{len(waiting)} runs wait: no W&B login on this machine; run `wandb "
            "login` or set WANDB_API_KEY, then give the command again"
        )
    unreachable = wandb.unreachable()
    if unreachable:
        raise SweeperError(
            f"{len(waiting)} runs wait: the W&B server does not answer: {unreachable}; "
            "give the command again when it does"
        )
    done = subprocess.call([sys.executable, "-m", "wandb", "sync", *waiting])
    return SweeperError.exit_code if done else 0


def _fragments(sweep: Sweep) -> Iterator[tuple[str, Fragment]]:
    """Yield the fragments of the trials by number, then those of the sweep's run.

    `wandb sync` joins fragments with the same id in the order in which they started.
    """
    folders = [(trial.id, sweep.paths.trial(trial.id).folder) for trial in sweep.trials]
    for name, folder in (*folders, (sweep.experiment.name, sweep.folder)):
        for fragment in wandb.fragments(folder):
            yield name, fragment


def _why_not(fragment: Fragment) -> str:
    """Return the reason to skip a fragment; "" to upload it."""
    if fragment.file.with_suffix(".wandb.synced").exists():
        return ": uploaded before"
    if not fragment.file.parent.name.startswith("offline-"):
        return ": was online"
    if not fragment.run:
        return ": nothing to upload, it was killed before its first record"
    return ""


def _contents(fragment: Fragment) -> str:
    steps = fragment.steps
    span = f" of steps {min(steps)} to {max(steps)}" if steps else ""
    end = "ended" if fragment.is_ended else "interrupted"
    damage = f", damaged ({fragment.damage})" if fragment.damage else ""
    return f"{len(fragment.rows)} rows{span}, {end}{damage}"

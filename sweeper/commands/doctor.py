"""Look at this machine: versions, GPUs, disk, shared memory, W&B and Ray."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from sweeper import exits
from sweeper.errors import SweeperError

EXAMPLE = "sweeper doctor --determinism experiments/digits.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("--ray", action="store_true", help="start a small Ray, too")
    parser.add_argument(
        "--determinism",
        type=Path,
        metavar="FILE",
        help="run a trial of the experiment twice and once with a kill: what differs?",
    )


def run(args: argparse.Namespace) -> int:
    """Print one line a finding; exit code 2 where one needs mending."""
    problems = 0
    for text, advice in _findings(args):
        print(text, flush=True)
        if advice:
            print(f"  -> {advice}", flush=True)
            problems += 1
    return SweeperError.exit_code if problems else exits.FINISHED


def _findings(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Each line with what to do about it, "" where all is well."""
    if args.determinism is not None:
        from sweeper.planning import determinism
        from sweeper.planning.plan import make_plan
        from sweeper.processes import launch

        plan = make_plan(args.determinism, (), sweeps=args.sweeps, has_sweep=False)
        loaded = plan.experiment
        with launch.running(project=loaded.project, target=loaded.target) as address:
            yield from determinism.lines(determinism.examine(plan, address))
        return
    from sweeper.running import health

    for finding in health.examine(args.sweeps, has_ray_started=args.ray):
        yield f"{finding.topic}: {finding.text}", finding.advice

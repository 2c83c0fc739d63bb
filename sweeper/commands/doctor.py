"""Check this machine: versions, GPUs, disk, shared memory, W&B and Ray."""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper import exit_codes
from sweeper.system.errors import SweeperError

if TYPE_CHECKING:
    from sweeper.plan.checks import Finding

EXAMPLE = "sweeper doctor --determinism experiments/digits.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ray", action="store_true", help="also start a small Ray")
    parser.add_argument(
        "--determinism",
        type=Path,
        metavar="FILE",
        help="run a trial of the experiment twice and once with a kill, and compare",
    )


def run(args: argparse.Namespace) -> int:
    """Print a line for each finding; return 2 if one needs a fix."""
    is_fine = True
    for finding in _findings(args):
        print(f"{finding.topic}: {finding.text}", flush=True)
        if not finding.is_fine:
            print(f"  -> {finding.advice}", flush=True)
            is_fine = False
    return exit_codes.FINISHED if is_fine else SweeperError.exit_code


def _findings(args: argparse.Namespace) -> "Iterator[Finding]":
    from sweeper.plan import checks

    if args.determinism is not None:
        from sweeper.plan import determinism
        from sweeper.plan.plan import make_plan
        from sweeper.project import zygote_client

        plan = make_plan(args.determinism, (), sweeps=args.sweeps, has_sweep=False)
        loaded = plan.experiment
        with zygote_client.running(
            project=loaded.project, target=loaded.target
        ) as address:
            yield from determinism.examine(plan, address)
        return
    yield from checks.examine(args.sweeps)
    if args.ray:
        yield _ray()


def _ray() -> "Finding":
    """Check that a small Ray starts and stops on this machine."""
    from sweeper.compat import ray as compat
    from sweeper.driver import cluster
    from sweeper.plan.checks import Finding

    with tempfile.TemporaryDirectory(prefix="sweeper.") as scratch:
        try:
            cluster.start(cluster.ClusterOptions(cpus=1, gpus=0), scratch=Path(scratch))
        except (SweeperError, RuntimeError, OSError) as error:
            advice = str(error).splitlines()[0]
            return Finding(
                topic="ray", text="does not start", is_fine=False, advice=advice
            )
        compat.shutdown()
    return Finding(topic="ray", text="starts and stops")

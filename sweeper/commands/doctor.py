"""Check this machine: versions, GPUs, disk, shared memory, W&B and Ray."""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sweeper.commands import common
from sweeper.plan import checks, determinism
from sweeper.plan.checks import Finding
from sweeper.plan.plan import make_plan
from sweeper.project import zygote_client
from sweeper.system.errors import SweeperError

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
    return common.exit_code(map(_print, _findings(args)))


def _print(finding: Finding) -> bool:
    print(f"{finding.topic}: {finding.text}", flush=True)
    if not finding.is_fine:
        print(f"  -> {finding.advice}", flush=True)
    return finding.is_fine


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    if args.determinism is None:
        yield from checks.examine(args.sweeps)
        if args.ray:
            yield _ray()
        return
    plan = make_plan(args.determinism, (), sweeps=args.sweeps, has_sweep=False)
    project, target = plan.experiment.project, plan.experiment.target
    with zygote_client.running(project=project, target=target) as address:
        yield from determinism.examine(plan, address)


def _ray() -> Finding:
    """Check that a small Ray starts and stops on this machine."""
    from sweeper.compat import ray as compat
    from sweeper.driver import cluster

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

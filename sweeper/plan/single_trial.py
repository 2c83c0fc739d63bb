"""A single trial outside of any sweep, in a process forked from a zygote.

It runs as any trial does, without a journal: the caller decides on its reports.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeper.journal.record import Demand, TrialRecord
from sweeper.journal.run_context import RunContext
from sweeper.journal.spec import make_spec
from sweeper.plan.plan import Plan
from sweeper.project import slot, zygote_client
from sweeper.protocol import Decision, FailureKind, Params, Report, TrialSpec
from sweeper.system.paths import SweepPaths

DEMAND = Demand(cpus=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of a single trial.

    Attributes:
        message: of its failure; "" if it did not fail.
        kind: of the failure; None without one, and for one that is not the trial's.
        is_fatal: whether every trial would meet it.
    """

    message: str = ""
    kind: FailureKind | None = None
    is_fatal: bool = False


def run(
    spec: TrialSpec,
    address: Path,
    *,
    decide: Callable[[Report], Decision],
    env: Mapping[str, str],
) -> Ended:
    """Run a trial to its end.

    Args:
        spec: of a trial in a folder of its own.
        address: of a zygote, which may still be importing.
        decide: answers each report.
        env: of its process.

    Raises:
        SweeperError: there is no zygote.
    """
    zygote = zygote_client.await_start(address)
    ended = slot.run_alone(spec, zygote, decide=decide, env=env)
    match ended.event:
        case "finished":
            return Ended()
        case "paused":
            return Ended(message="the disk is full")
        case "fatal":
            return Ended(message=ended.message, is_fatal=True)
        case _:
            return Ended(message=ended.message, kind=FailureKind(ended.kind))


def spec_of(plan: Plan, params: Params, folder: Path) -> TrialSpec:
    """Return the spec of a point in a temporary folder, without a W&B run."""
    context = RunContext(
        demand=DEMAND, slots=1, seed_key=plan.seed_key, wandb_mode="none"
    )
    return make_spec(
        plan.experiment,
        plan.space,
        context,
        TrialRecord.new(params, seed=plan.experiment.seeds[0]),
        demand=DEMAND,
        paths=SweepPaths(folder),
    )

"""One trial outside of any sweep, in a process forked from a zygote.

It runs as any trial does, without a journal: what is wanted of it is decided here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import TrialState, create_trial

from sweeper.host.paths import SweepPaths
from sweeper.planning.plan import Plan
from sweeper.processes import launch, slot
from sweeper.protocol import Report
from sweeper.scheduling.launch import Launch
from sweeper.scheduling.spec import make_spec
from sweeper.storage import attributes
from sweeper.trial import (
    Decision,
    Demand,
    FailureKind,
    Params,
    TrialSpec,
    trial_id,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a trial alone ended.

    Attributes:
        message: why it failed; "" where it did not.
        kind: of the failure; None for none, and for what is no trial's own.
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
    zygote = launch.await_start(address)
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
    """The spec of a point in a folder that goes, outside of any sweep and W&B."""
    demand, seed = Demand(cpus=1.0), plan.experiment.seeds[0]
    row = create_trial(
        state=TrialState.WAITING,
        params=dict(params),
        distributions=plan.space.distributions_of(params),
        user_attrs=attributes.named(trial_id(params, seed=seed), params, seed=seed),
    )
    return make_spec(
        plan.experiment,
        plan.space,
        Launch(demand=demand, slots=1, seed_key=plan.seed_key, wandb_mode="none"),
        row,
        demand=demand,
        paths=SweepPaths(folder),
    )

"""One trial outside of any sweep, in a process forked from a warm template.

It runs as any trial does, without a journal: what is wanted of it is decided here.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from optuna.trial import TrialState, create_trial

from sweeper.host.paths import SweepPaths
from sweeper.planning.plan import Plan
from sweeper.processes import slot, template
from sweeper.reports import Report
from sweeper.scheduling.launch import Launch
from sweeper.scheduling.spec import make_spec
from sweeper.stop import Stop
from sweeper.storage import attributes
from sweeper.trial import (
    Decision,
    Demand,
    Failure,
    FailureKind,
    Params,
    State,
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


@dataclass
class _OneTrial:
    """The journal of a slot with one trial."""

    spec: TrialSpec
    decide: Callable[[Report], Decision]
    ended: Ended = field(default_factory=Ended)

    def claim(self, slot: str, demand: Demand | None = None) -> Demand | None:
        return None

    def start(self, slot: str, card: str = "") -> TrialSpec:
        return self.spec

    def report(self, slot: str, report: Report) -> Decision:
        return self.decide(report)

    def finish(self, slot: str) -> State:
        return State.COMPLETE

    def pause(self, slot: str) -> None:
        self.ended = Ended(message="the disk is full")

    def fail(self, slot: str, failure: Failure) -> State:
        self.ended = Ended(message=failure.message, kind=failure.kind)
        return State.FAILED

    def abort(self, slot: str, message: str) -> None:
        self.ended = Ended(message=message, is_fatal=True)

    def stopped_by(self) -> Stop:
        return Stop()


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
        address: of a template, which may still be importing.
        decide: answers each report.
        env: of its process.

    Raises:
        SweeperError: there is no template.
    """
    journal = _OneTrial(spec, decide)
    slot.run(
        "alone",
        journal,
        demand=Demand(cpus=1.0),
        connect=functools.partial(
            template.await_start, address, template.START_SECONDS
        ),
        env=env,
    )
    return journal.ended


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

"""The journal in a process of its own, on the driver's node."""

import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ray

from sweeper.driver.journal_client import DIED, RemoteJournal
from sweeper.driver.ray_cluster import nodes
from sweeper.experiment.definition import Experiment
from sweeper.experiment.space import Space
from sweeper.journal.journal import Journal
from sweeper.journal.record import Failure, State
from sweeper.journal.run_context import RunContext
from sweeper.plan.demands import settle
from sweeper.plan.plan import Plan
from sweeper.protocol import TrialSpec
from sweeper.system import locks
from sweeper.system.errors import ClusterLostError, JournalError
from sweeper.system.paths import SweepPaths

JOURNAL_WAIT_SECONDS = 30.0


class _JournalActor(Journal):
    """The journal in one process of the head node, under its own lock.

    Slots start while the preflight still runs; each reserves a trial and waits for
    `open`.
    """

    def __init__(
        self, experiment: Experiment, space: Space, folder: Path, context: RunContext
    ) -> None:
        self._held = ExitStack()
        path = SweepPaths(folder).journal_lock
        lock = locks.hold(path, wait_seconds=JOURNAL_WAIT_SECONDS)
        other = self._held.enter_context(lock)
        if other is not None:
            raise JournalError(f"{path}: process {other.pid} still writes the journal")
        super().__init__(experiment, space, folder, context)
        self._may_start: bool | None = None

    def open(self, may_start: bool) -> None:
        """Let the slots start what they reserved, or have them leave."""
        self._may_start = may_start

    def may_start(self) -> bool | None:
        """Return whether slots may start trials; None until the preflight is over."""
        return self._may_start

    def start(self, slot: str, card: str = "") -> TrialSpec:
        self._check_driver()
        return super().start(slot, card)

    def fail(self, slot: str, failure: Failure) -> State:
        self._check_driver()
        return super().fail(slot, failure)

    def _check_driver(self) -> None:
        """Refuse a failure that only follows from the driver's death."""
        if not locks.is_held(self._paths.lock):
            raise JournalError(f"{self._paths.folder}: the driver is gone")


def open_journal(
    plan: Plan, *, wandb_mode: str, say: Callable[[str], None]
) -> RemoteJournal:
    """Open the journal of a sweep, on the driver's node.

    Args:
        say: called with a line before something takes long.

    Raises:
        ExperimentError: no node of the cluster holds one trial.
        JournalError: it is damaged, or still written by another process.
    """
    context = settle(plan, nodes(), wandb_mode=wandb_mode, say=say)
    folder, experiment = plan.folder, plan.experiment
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    actor = ray.remote(num_cpus=0)(_JournalActor)
    # Two sweeps of one name may share a cluster, and a killed driver's actor its name.
    name = f"journal/{experiment.name}/{uuid.uuid4().hex}"
    handle: Any = actor.options(name=name, scheduling_strategy=here).remote(
        experiment, plan.space, folder, context
    )
    journal = RemoteJournal(handle, name)
    try:
        ray.get(handle.stopped_by.remote())
    except ray.exceptions.RayActorError as error:
        if not error.actor_init_failed:
            raise ClusterLostError(DIED) from error
        raise JournalError(f"{folder}: the journal did not open: {error}") from error
    return journal

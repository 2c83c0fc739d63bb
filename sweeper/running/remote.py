"""The journal in a process of its own, reached through Ray from every node."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle

from sweeper.definition.experiment import Experiment
from sweeper.errors import ClusterLostError, JournalError
from sweeper.host import locks
from sweeper.host.paths import SweepPaths
from sweeper.planning.plan import Plan
from sweeper.reports import Report
from sweeper.running.cluster import NAMESPACE, settle
from sweeper.scheduling.journal import Journal
from sweeper.scheduling.launch import Launch
from sweeper.search_space.space import Space
from sweeper.stop import Stop
from sweeper.trial import Decision, Demand, Failure, State, TrialSpec

DIED = "the journal's process died"
JOURNAL_WAIT_SECONDS = 30.0


class _JournalActor(Journal):
    """The journal in one process of the head node, under its own lock."""

    def __init__(
        self, experiment: Experiment, space: Space, folder: Path, launch: Launch
    ) -> None:
        self._held = ExitStack()
        path = SweepPaths(folder).journal_lock
        lock = locks.hold(path, wait_seconds=JOURNAL_WAIT_SECONDS)
        other = self._held.enter_context(lock)
        if other is not None:
            raise JournalError(f"{path}: process {other.pid} still writes the journal")
        super().__init__(experiment, space, folder, launch)

    def start(self, slot: str, card: str = "") -> TrialSpec:
        self._check_driver()
        return super().start(slot, card)

    def fail(self, slot: str, failure: Failure) -> State:
        self._check_driver()
        return super().fail(slot, failure)

    def _check_driver(self) -> None:
        """Refuse what only follows from the driver's death: it is nobody's failure."""
        if not locks.is_held(self._paths.lock):
            raise JournalError(f"{self._paths.folder}: the driver is gone")


class RemoteJournal:
    """The journal as a slot or the driver sees it; each call waits for its answer."""

    def __init__(self, handle: "ActorHandle[Any]") -> None:
        self._handle = handle

    @staticmethod
    def find(sweep: str) -> "RemoteJournal":
        """The journal of the sweep of that name on this cluster."""
        return RemoteJournal(ray.get_actor(actor_name(sweep), namespace=NAMESPACE))

    def _call(self, method: str, *args: object) -> Any:
        try:
            return ray.get(getattr(self._handle, method).remote(*args))
        except ray.exceptions.RayActorError as error:
            raise ClusterLostError(DIED) from error

    def claim(self, slot: str, demand: Demand | None = None) -> Demand | None:
        """Reserve the next trial."""
        claimed: Demand | None = self._call("claim", slot, demand)
        return claimed

    def peek(self) -> Demand | None:
        """What the next trial asks for."""
        asked: Demand | None = self._call("peek")
        return asked

    def start(self, slot: str, card: str = "") -> TrialSpec:
        """Mark it as running."""
        spec: TrialSpec = self._call("start", slot, card)
        return spec

    def report(self, slot: str, report: Report) -> Decision:
        """Record one epoch."""
        decision: Decision = self._call("report", slot, report)
        return decision

    def finish(self, slot: str) -> State:
        """Record the end."""
        state: State = self._call("finish", slot)
        return state

    def fail(self, slot: str, failure: Failure) -> State:
        """Record a failed attempt."""
        state: State = self._call("fail", slot, failure)
        return state

    def pause(self, slot: str) -> None:
        """Put it back in the queue."""
        self._call("pause", slot)

    def abort(self, slot: str, message: str) -> None:
        """Stop the sweep."""
        self._call("abort", slot, message)

    def lost(self, slot: str) -> None:
        """Record that a slot died."""
        self._call("lost", slot)

    def drain(self) -> None:
        """Start nothing more; a journal that waits for its disk hears of it later."""
        self._handle.drain.remote()

    def is_finished(self) -> bool:
        """Whether nothing runs and nothing will start."""
        return bool(self._call("is_finished"))

    def stopped_by(self) -> Stop:
        """Why the sweep stopped early."""
        stop: Stop = self._call("stopped_by")
        return stop


def actor_name(sweep: str) -> str:
    """Name of a sweep's journal among the cluster's actors."""
    return f"journal/{sweep}"


def open_journal(
    plan: Plan, *, wandb_mode: str, say: Callable[[str], None]
) -> RemoteJournal:
    """The journal of a sweep, on the driver's node.

    Args:
        say: told before something takes long.

    Raises:
        ExperimentError: no node of the cluster holds one trial.
        JournalError: it is damaged, or still written by another process.
    """
    launch = settle(plan, wandb_mode=wandb_mode, say=say)
    folder, experiment = plan.folder, plan.experiment
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    actor = ray.remote(num_cpus=0)(_JournalActor)
    handle: Any = actor.options(
        name=actor_name(experiment.name), scheduling_strategy=here
    ).remote(experiment, plan.space, folder, launch)
    journal = RemoteJournal(handle)
    try:
        ray.get(handle.stopped_by.remote())
    except ray.exceptions.RayActorError as error:
        if not error.actor_init_failed:
            raise ClusterLostError(DIED) from error
        raise JournalError(f"{folder}: the journal did not open: {error}") from error
    return journal

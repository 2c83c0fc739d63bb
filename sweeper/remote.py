"""The journal in a process of its own, reached through Ray from every node."""

import functools
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import ray
from ray.actor import ActorHandle

from sweeper import locks
from sweeper.cluster import NAMESPACE
from sweeper.errors import JournalError
from sweeper.experiment import Experiment
from sweeper.journal import Journal
from sweeper.paths import SweepPaths
from sweeper.space import Space
from sweeper.trial import Decision, Demand, Failure, Launch, State, Stop, TrialSpec

JOURNAL_WAIT_SECONDS = 30.0


class _JournalActor(Journal):
    """The journal in one process of the head node, under its own lock."""

    def __init__(
        self, experiment: Experiment, space: Space, folder: Path, launch: Launch
    ) -> None:
        self._held = ExitStack()
        path = SweepPaths(folder).folder / ".journal.lock"
        lock = locks.hold(path, wait_seconds=JOURNAL_WAIT_SECONDS)
        other = self._held.enter_context(lock)
        if other is not None:
            raise JournalError(f"{path}: process {other.pid} still writes the journal")
        super().__init__(experiment, space, folder, launch)

    def start(self, slot: str) -> TrialSpec:
        self._check_driver()
        return super().start(slot)

    def fail(self, slot: str, failure: Failure) -> State:
        self._check_driver()
        return super().fail(slot, failure)

    def _check_driver(self) -> None:
        """Refuse what only follows from the driver's death: it is nobody's failure."""
        if not locks.is_held(self._paths.lock):
            raise JournalError(f"{self._paths.folder}: the driver is gone")


class RemoteJournal:
    """The journal as a slot or the driver sees it; each call waits for its answer."""

    def __init__(self, handle: ActorHandle) -> None:
        self._handle = handle

    @staticmethod
    def find(sweep: str) -> "RemoteJournal":
        """The journal of the sweep of that name on this cluster."""
        return RemoteJournal(ray.get_actor(actor_name(sweep), namespace=NAMESPACE))

    def claim(self, slot: str, demand: Demand | None = None) -> Demand | None:
        """Reserve the next trial."""
        claimed: Demand | None = ray.get(self._handle.claim.remote(slot, demand))
        return claimed

    def start(self, slot: str) -> TrialSpec:
        """Mark it as running."""
        spec: TrialSpec = ray.get(self._handle.start.remote(slot))
        return spec

    def report(
        self,
        slot: str,
        *,
        epoch: int,
        value: float | None,
        metrics: Mapping[str, float],
        busy_seconds: float,
    ) -> Decision:
        """Record one epoch."""
        report = functools.partial(self._handle.report.remote, slot, epoch=epoch)
        answer = report(value=value, metrics=metrics, busy_seconds=busy_seconds)
        decision: Decision = ray.get(answer)
        return decision

    def finish(self, slot: str) -> State:
        """Record the end."""
        state: State = ray.get(self._handle.finish.remote(slot))
        return state

    def fail(self, slot: str, failure: Failure) -> State:
        """Record a failed attempt."""
        state: State = ray.get(self._handle.fail.remote(slot, failure))
        return state

    def pause(self, slot: str) -> None:
        """Put it back in the queue."""
        ray.get(self._handle.pause.remote(slot))

    def abort(self, slot: str, message: str) -> None:
        """Stop the sweep."""
        ray.get(self._handle.abort.remote(slot, message))

    def lost(self, slot: str) -> None:
        """Record that a slot died."""
        ray.get(self._handle.lost.remote(slot))

    def drain(self) -> None:
        """Start nothing more."""
        ray.get(self._handle.drain.remote())

    def is_finished(self) -> bool:
        """Whether nothing runs and nothing will start."""
        answer: bool = ray.get(self._handle.is_finished.remote())
        return answer

    def stopped_by(self) -> Stop:
        """Why the sweep stopped early."""
        stop: Stop = ray.get(self._handle.stopped_by.remote())
        return stop


def actor_name(sweep: str) -> str:
    """Name of a sweep's journal among the cluster's actors."""
    return f"journal/{sweep}"


def start_journal(
    experiment: Experiment, space: Space, folder: Path, launch: Launch
) -> RemoteJournal:
    """The journal of a sweep, on the driver's node.

    Raises:
        JournalError: it is damaged, or still written by another process.
    """
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    actor = ray.remote(num_cpus=0)(_JournalActor)
    handle = actor.options(
        name=actor_name(experiment.name), scheduling_strategy=here
    ).remote(experiment, space, folder, launch)
    journal = RemoteJournal(handle)
    try:
        journal.stopped_by()
    except ray.exceptions.RayActorError as error:
        raise JournalError(f"{folder}: the journal did not open: {error}") from error
    return journal

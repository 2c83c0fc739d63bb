"""The journal as a Ray actor on the driver's node, and the driver's calls to it."""

import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import ray
from ray.actor import ActorHandle

from sweeper.driver.cluster import nodes
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
P = ParamSpec("P")
R = TypeVar("R")


class JournalActor(Journal):
    """The journal in a process on the driver's node, under a lock.

    Slots start while the preflight still runs; each reserves a trial and waits for
    `open`.
    """

    def __init__(
        self, experiment: Experiment, space: Space, folder: Path, context: RunContext
    ) -> None:
        self._lock = ExitStack()
        path = SweepPaths(folder).journal_lock
        lock = locks.hold(path, wait_seconds=JOURNAL_WAIT_SECONDS)
        other = self._lock.enter_context(lock)
        if other is not None:
            raise JournalError(f"{path}: process {other.pid} still writes the journal")
        super().__init__(experiment, space, folder, context)
        self._may_start: bool | None = None

    def open(self, may_start: bool) -> None:
        """Let the slots start the trials that they reserved, or make them exit."""
        self._may_start = may_start

    def may_start(self) -> bool | None:
        """Return whether slots may start trials; None while the preflight runs."""
        return self._may_start

    def start(self, slot: str, card: str = "") -> TrialSpec:
        self._check_driver()
        return super().start(slot, card)

    def fail(self, slot: str, failure: Failure) -> State:
        self._check_driver()
        return super().fail(slot, failure)

    def _check_driver(self) -> None:
        """Raise an error after the driver's death, which makes trials fail."""
        if not locks.is_held(self._paths.lock):
            raise JournalError(f"{self._paths.folder}: the driver is gone")


class RemoteJournal:
    """The driver's handle to the journal.

    Attributes:
        name: name of the actor, by which slots find it.
    """

    def __init__(self, actor: "ActorHandle[Any]", name: str) -> None:
        self._actor = actor
        self.name = name

    def ask(
        self,
        method: Callable[Concatenate[JournalActor, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Return the journal's answer to a call of `method`.

        Raises:
            ClusterLostError: the journal's process died.
            JournalError: the journal cannot be written.
        """
        try:
            call = getattr(self._actor, method.__name__).remote
            answer: R = ray.get(call(*args, **kwargs))
        except ray.exceptions.RayActorError as error:
            raise ClusterLostError("the journal's process died") from error
        except OSError as error:  # Ray raises the error of the journal's method
            reason = getattr(error, "cause", error)
            raise JournalError(f"the journal cannot be written: {reason}") from error
        return answer

    def tell(self, method: Callable[[JournalActor], None]) -> None:
        """Call `method` without waiting, since the journal may wait for its disk."""
        getattr(self._actor, method.__name__).remote()


def open_journal(
    plan: Plan, *, wandb_mode: str, say: Callable[[str], None]
) -> RemoteJournal:
    """Open the journal of a sweep, on the driver's node.

    Args:
        say: shows a message before a step that takes long.

    Raises:
        ExperimentError: no node of the cluster holds one trial.
        JournalError: the journal is damaged, or another process still writes it.
    """
    context = settle(plan, nodes(), wandb_mode=wandb_mode, say=say)
    folder, experiment = plan.folder, plan.experiment
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    actor = ray.remote(num_cpus=0)(JournalActor)
    # Sweeps of one name may share a cluster, and a killed driver's actor may live on.
    name = f"journal/{experiment.name}/{uuid.uuid4().hex}"
    handle: Any = actor.options(name=name, scheduling_strategy=here).remote(
        experiment, plan.space, folder, context
    )
    journal = RemoteJournal(handle, name)
    try:
        journal.ask(JournalActor.stopped_by)
    except ClusterLostError as error:
        cause = error.__cause__
        if not getattr(cause, "actor_init_failed", False):
            raise
        raise JournalError(f"{folder}: the journal did not open: {cause}") from cause
    return journal

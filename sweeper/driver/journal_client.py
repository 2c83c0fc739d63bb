"""The journal as a slot or the driver sees it, through Ray from every node.

It imports nothing that writes a journal: a slot's process starts with each sweep.
"""

import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import ray
from ray.actor import ActorHandle

from sweeper.driver.ray_cluster import NAMESPACE
from sweeper.journal.record import Demand
from sweeper.project.slot import JournalClient
from sweeper.system.errors import ClusterLostError, JournalError

POLL_SECONDS = 0.05
COUNT_SECONDS = 10.0
DIED = "the journal's process died"
P = ParamSpec("P")
R = TypeVar("R")


class JournalActor(JournalClient, Protocol):
    """The methods of the journal's actor that are called from other processes."""

    def open(self, may_start: bool) -> None: ...
    def may_start(self) -> bool | None: ...
    def offer(self) -> Demand | None: ...
    def lost(self, slot: str) -> None: ...
    def is_finished(self) -> bool: ...


def _remote(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate["RemoteJournal", P], R]:
    """Return the method of the same name that calls the actor and waits."""
    name = method.__name__

    def call(self: "RemoteJournal", /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            answer: R = ray.get(getattr(self.actor, name).remote(*args, **kwargs))
        except ray.exceptions.RayActorError as error:
            raise ClusterLostError(DIED) from error
        except OSError as error:  # Ray raises what the journal's own call raised
            reason = getattr(error, "cause", error)
            raise JournalError(f"the journal cannot be written: {reason}") from error
        return answer

    return call


class RemoteJournal:
    """The journal as a slot or the driver sees it; each call waits for its answer."""

    def __init__(self, actor: "ActorHandle[Any]", name: str) -> None:
        self.actor = actor
        self.name = name
        self._counted_at = time.monotonic()

    @staticmethod
    def find(name: str) -> "RemoteJournal":
        """Return the journal whose actor has that name on this cluster."""
        return RemoteJournal(ray.get_actor(name, namespace=NAMESPACE), name)

    claim = _remote(JournalActor.claim)
    offer = _remote(JournalActor.offer)
    start = _remote(JournalActor.start)
    report = _remote(JournalActor.report)
    finish = _remote(JournalActor.finish)
    fail = _remote(JournalActor.fail)
    pause = _remote(JournalActor.pause)
    abort = _remote(JournalActor.abort)
    lost = _remote(JournalActor.lost)
    stopped_by = _remote(JournalActor.stopped_by)
    is_finished = _remote(JournalActor.is_finished)
    open = _remote(JournalActor.open)
    _may_start = _remote(JournalActor.may_start)

    def await_start(self) -> bool:
        """Wait until the preflight is over; return whether trials may start."""
        while (answer := self._may_start()) is None:
            time.sleep(POLL_SECONDS)
        return answer

    def drain(self) -> None:
        """Start nothing more; a journal that waits for its disk hears of it later."""
        self.actor.drain.remote()

    def count_time(self) -> None:
        """Have the time of running trials counted; the answer is not waited for."""
        if time.monotonic() > self._counted_at + COUNT_SECONDS:
            self._counted_at = time.monotonic()
            self.actor.count_time.remote()

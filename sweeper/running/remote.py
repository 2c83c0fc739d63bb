"""The journal as a slot or the driver sees it, through Ray from every node.

It imports nothing that writes a journal: a slot's process starts with each sweep.
"""

import time
from typing import Any

import ray
from ray.actor import ActorHandle

from sweeper.errors import ClusterLostError, JournalError
from sweeper.protocol import Report
from sweeper.running.ray_node import NAMESPACE
from sweeper.stop import Stop
from sweeper.trial import Decision, Demand, Failure, State, TrialSpec

POLL_SECONDS = 0.05
COUNT_SECONDS = 10.0
DIED = "the journal's process died"


class RemoteJournal:
    """The journal as a slot or the driver sees it; each call waits for its answer."""

    def __init__(self, handle: "ActorHandle[Any]", name: str) -> None:
        self._handle = handle
        self._counted_at = time.monotonic()
        self.name = name

    @staticmethod
    def find(name: str) -> "RemoteJournal":
        """Return the journal whose actor has that name on this cluster."""
        return RemoteJournal(ray.get_actor(name, namespace=NAMESPACE), name)

    def _call(self, method: str, *args: object) -> Any:
        try:
            return ray.get(getattr(self._handle, method).remote(*args))
        except ray.exceptions.RayActorError as error:
            raise ClusterLostError(DIED) from error
        except OSError as error:  # Ray raises what the journal's own call raised
            reason = getattr(error, "cause", error)
            raise JournalError(f"the journal cannot be written: {reason}") from error

    def open(self, may_start: bool) -> None:
        """Let the slots start what they reserved, or have them leave."""
        self._call("open", may_start)

    def await_start(self) -> bool:
        """Wait until it is known whether trials may start; whether they may."""
        while (answer := self._call("may_start")) is None:
            time.sleep(POLL_SECONDS)
        return bool(answer)

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

    def count_time(self) -> None:
        """Have the time of running trials counted; the answer is not waited for."""
        if time.monotonic() > self._counted_at + COUNT_SECONDS:
            self._counted_at = time.monotonic()
            self._handle.count_time.remote()

    def is_finished(self) -> bool:
        """Whether nothing runs and nothing will start."""
        return bool(self._call("is_finished"))

    def stopped_by(self) -> Stop:
        """Why the sweep stopped early."""
        stop: Stop = self._call("stopped_by")
        return stop

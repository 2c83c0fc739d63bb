"""Messages about nodes that leave or join a cluster that sweeper did not start."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from sweeper.driver.signals import submit
from sweeper.experiment.definition import Experiment
from sweeper.packing.packing import Node
from sweeper.plan import demands
from sweeper.system.errors import ClusterLostError, ExperimentError

LOOK_SECONDS = 5.0
ANSWER_SECONDS = 120.0
ROOM_SECONDS = 3600.0  # without a node that holds a trial


class NodeWatch:
    """Compares the nodes of a cluster with those of its last answer.

    Args:
        nodes: returns the nodes that are alive, which may take long.
        say: shows one line to the user.
        clock: seconds; only differences count.
    """

    def __init__(
        self,
        experiment: Experiment,
        nodes: Callable[[], Sequence[Node]],
        *,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._experiment = experiment
        self._nodes = nodes
        self._say = say
        self._clock = clock
        self._known: Sequence[Node] | None = None
        self._answer: Future[Sequence[Node]] | None = None
        self._asked_at = float("-inf")
        self._no_room_since: float | None = None
        self._had_cards = False

    def look(self) -> None:
        """Ask the cluster every few seconds, without waiting, and report its answer.

        Raises:
            ClusterLostError: no answer for too long, or no node that holds a trial.
        """
        now = self._clock()
        if self._answer is None:
            if now - self._asked_at >= LOOK_SECONDS:
                self._answer, self._asked_at = submit(self._nodes), now
        elif self._answer.done():
            answer, self._answer = self._answer, None
            self.update(answer.result())
        elif now - self._asked_at > ANSWER_SECONDS:
            raise ClusterLostError(f"no answer of Ray for {ANSWER_SECONDS:g} s")
        if self._no_room_since is not None and now - self._no_room_since > ROOM_SECONDS:
            raise ClusterLostError(
                f"no node that holds a trial for {ROOM_SECONDS / 60:g} min"
            )

    def update(self, nodes: Sequence[Node]) -> None:
        """Report the differences from the nodes of the last call."""
        before, after = Counter(self._known or nodes), Counter(nodes)
        self._known = nodes
        has_room = self._has_room(nodes)
        had_room = self._no_room_since is None
        if has_room:
            self._no_room_since = None
        elif had_room:
            self._no_room_since = self._clock()
        for node in (before - after).elements():
            left = f"; {len(nodes)} left"
            left += "" if has_room else ", none of which holds a trial: waiting for one"
            self._say(f"a node of the cluster is gone ({_describe(node)}){left}")
        for node in (after - before).elements():
            more = "; the sweep continues" if has_room and not had_room else ""
            self._say(f"a node joined the cluster ({_describe(node)}){more}")

    def _has_room(self, nodes: Sequence[Node]) -> bool:
        try:
            demands.check(self._experiment, nodes)
        except ExperimentError:
            return False
        wanted = self._experiment.resources
        # "auto" asked for cards when there were some; on none it would ask for none.
        has_cards = any(node.gpus for node in nodes)
        self._had_cards |= has_cards
        return has_cards or wanted.gpus != "auto" or not self._had_cards


def _describe(node: Node) -> str:
    cards = f", {node.gpus} GPU {node.accelerator}".rstrip() if node.gpus else ""
    return f"{node.cpus:g} CPU{cards}"

"""Events of a running sweep: trials, disk and nodes of the cluster."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from sweeper.driver.signals import submit
from sweeper.experiment.definition import Experiment, unpriced
from sweeper.journal.record import Sweep
from sweeper.packing.packing import Node
from sweeper.plan import demands
from sweeper.reporting.status import Display, events
from sweeper.system import disk
from sweeper.system.errors import ClusterLostError, ExperimentError

LOOK_SECONDS = 5.0
ANSWER_SECONDS = 120.0
ROOM_SECONDS = 3600.0  # longest time without a node that holds a trial


class EventLog:
    """The events of a driver, on its display and in `driver.log`.

    While the disk is full, log lines are kept in memory. If the driver waited for
    space, it could not react to a signal.

    Args:
        folder: folder of the sweep.
    """

    def __init__(self, folder: Path, display: Display) -> None:
        self._folder = folder
        self._display = display
        self._unwritten: list[str] = []
        self._is_full = False
        self._last: dict[str, str] = {}

    def write(self, before: Sweep, after: Sweep) -> None:
        """Show and write the events between two states of the sweep."""
        lines = events(before, after)
        for event in lines:
            self._display.event(event)
        self._display.update(after)
        self._unwritten += map(str, lines)
        cards = {card for trial in after.trials for card in trial.card_seconds}
        self.write_once("price", unpriced(after.experiment.price, cards))
        self._watch_disk()
        if self._unwritten and not self._is_full:
            text = "".join(f"{line}\n" for line in self._unwritten)
            disk.append(after.paths.log, text.encode())
            self._unwritten.clear()

    def write_once(self, topic: str, message: str) -> None:
        """Show and write a message, unless it is empty or the topic's last one."""
        if message and message != self._last.get(topic):
            self._display.event(message)
            self._unwritten.append(message)
        self._last[topic] = message

    def _watch_disk(self) -> None:
        may_be_full = self._is_full or disk.may_be_full(self._folder)
        reason = disk.problem(self._folder) if may_be_full else ""
        if bool(reason) != self._is_full:
            pause = disk.paused(self._folder, reason)
            self._display.event(pause if reason else disk.RESUMING)
        self._is_full = bool(reason)


class NodeWatch:
    """A watch on the nodes of a cluster; it reports nodes that leave and join.

    Args:
        nodes: returns the living nodes, which may take long.
        say: shows one line to the user.
        clock: returns seconds; only differences count.
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
        self._last_nodes: Sequence[Node] | None = None
        self._answer: Future[Sequence[Node]] | None = None
        self._asked_at = float("-inf")
        self._no_room_since: float | None = None
        self._had_cards = False

    def look(self) -> None:
        """Ask Ray for the nodes every few seconds, without waiting; report changes.

        Raises:
            ClusterLostError: for too long Ray did not answer, or no node held a trial.
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
        """Report nodes that joined or left since the last call."""
        before, after = Counter(self._last_nodes or nodes), Counter(nodes)
        self._last_nodes = nodes
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
        # Trials that started with cards need cards; without any, "auto" asks for 0.
        has_cards = any(node.gpus for node in nodes)
        self._had_cards |= has_cards
        return has_cards or wanted.gpus != "auto" or not self._had_cards


def _describe(node: Node) -> str:
    cards = f", {node.gpus} GPU {node.accelerator}".rstrip() if node.gpus else ""
    return f"{node.cpus:g} CPU{cards}"

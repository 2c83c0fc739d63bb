"""List scheduling: which trial runs where and when, for a plan and as a bound.

It knows durations and demands, not what becomes of a trial.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.journal.record import Demand
from sweeper.packing.packing import Node, Place, Room


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Something to run.

    Attributes:
        label: what the plan calls it.
        seconds: how long it takes.
    """

    label: str
    demand: Demand
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A task at its place and time, in seconds from the start."""

    task: Task
    place: Place
    start: float

    @property
    def end(self) -> float:
        """When it is over."""
        return self.start + self.task.seconds


def order(task: Task) -> tuple[float, float]:
    """What comes first: large demands, which need whole cards; then long tasks.

    The longest-first rule is at most 4/3 of the shortest makespan on equal machines
    (Graham, SIAM J. Appl. Math. 17, 1969).
    """
    return (-task.demand.gpus, -task.seconds)


def arrange(tasks: Sequence[Task], nodes: Sequence[Node]) -> list[Slice]:
    """Start each task, in `order`, as soon as a card has room for it.

    Tasks that no node can hold are left out.
    """
    room = Room(nodes)
    running: list[tuple[float, int, Slice]] = []
    done: list[Slice] = []
    now = 0.0
    empty = Room(nodes)
    queue = [t for t in sorted(tasks, key=order) if empty.find(t.demand) is not None]
    for count, task in enumerate(queue):
        while (place := room.find(task.demand)) is None:
            now, _, ended = heapq.heappop(running)
            room.give(ended.task.demand, ended.place)
        room.take(task.demand, place)
        started = Slice(task=task, place=place, start=now)
        done.append(started)
        heapq.heappush(running, (started.end, count, started))
    return done


def makespan(slices: Sequence[Slice]) -> float:
    """When the last one ends."""
    return max((part.end for part in slices), default=0.0)


def lower_bound(tasks: Sequence[Task], nodes: Sequence[Node]) -> float:
    """No schedule is shorter: all work on all cards or cores, and the longest task."""
    cards = sum(node.gpus for node in nodes)
    cores = sum(node.cpus for node in nodes)
    on_cards = sum(task.seconds * task.demand.gpus for task in tasks)
    on_cores = sum(task.seconds * task.demand.cpus for task in tasks)
    longest = max((task.seconds for task in tasks), default=0.0)
    return max(on_cards / cards if cards else 0.0, on_cores / cores, longest)

"""Shares of GPUs: their size, their placement on a cluster, and the action after OOM.

It works on numbers only: predicted or measured bytes, and counts of cards.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sweeper.journal.record import Demand
from sweeper.system.errors import DemandError
from sweeper.system.text import GIB, MIB

MAX_SLOTS = 16  # of one card
HEADROOM = 1.15  # fragmentation, cuDNN's workspaces, errors of a prediction
CONTEXT_BYTES = 512 * MIB  # of each process, outside torch's allocator
MIN_CPUS = 0.01
EPSILON = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A type of GPU.

    Attributes:
        name: Ray's accelerator type.
        device_bytes: the smallest total memory that torch has reported for it.
        teraflops: dense peak in half and in single precision; 0 if unknown.
    """

    name: str
    device_bytes: int
    teraflops: tuple[float, float]


# Sources are in docs/packing.md. A name with two sizes has the smaller one here.
CARDS: Mapping[str, Card] = {
    name: Card(name=name, device_bytes=int(gib * GIB), teraflops=peak)
    for name, gib, peak in (
        ("T4", 14.56, (65.0, 8.1)),
        ("L4", 22.03, (121.0, 30.3)),
        ("V100", 15.77, (125.0, 15.7)),
        ("A100", 39.38, (312.0, 19.5)),
        ("A100-40G", 39.38, (312.0, 19.5)),
        ("A100-80G", 79.10, (312.0, 19.5)),
        ("H100", 79.10, (989.0, 67.0)),
    )
}


def find_card(text: str) -> Card | None:
    """Return the card of a name such as "T4" or "RTX4090:23.6" (GiB); None for "".

    A size is for cards that are not in the table and for parts of a card (MIG).

    Raises:
        DemandError: the name is unknown and has no size, or the size is no number.

    >>> find_card("T4:2").device_bytes / GIB
    2.0
    """
    name, _, size = text.partition(":")
    known = CARDS.get(name)
    if not size:
        if name and known is None:
            raise DemandError(
                f"resources.accelerator: {name!r}: no card of that name is known; "
                f"known: {', '.join(CARDS)}; give --card, such as --card {name}:24 "
                "with its GiB"
            )
        return known
    try:
        gib = float(size)
    except ValueError:
        gib = 0.0
    if not name or not 0 < gib < math.inf:
        raise DemandError(
            f"--card {text}: {size!r} is no size; give a name and GiB, as T4:14.56"
        )
    peak = known.teraflops if known else (0.0, 0.0)
    return Card(name=name, device_bytes=int(gib * GIB), teraflops=peak)


def slots(
    peak_bytes: int,
    *,
    device_bytes: int,
    headroom: float = HEADROOM,
    context_bytes: int = CONTEXT_BYTES,
    max_per_gpu: int = MAX_SLOTS,
) -> int:
    """Return the number of equal trials that one card holds.

    Args:
        peak_bytes: allocator peak of a training step, without the CUDA context.
        device_bytes: total memory of the card as torch reports it.
        headroom: factor on the peak.
        context_bytes: memory of a process outside of torch's allocator.

    Returns:
        1 to `max_per_gpu`.

    Raises:
        DemandError: the trial does not fit one card even alone.

    >>> slots(3 * GIB, device_bytes=15 * GIB)
    3
    >>> slots(3 * GIB, device_bytes=15 * GIB, max_per_gpu=2)
    2
    """
    need = int(peak_bytes * headroom) + context_bytes
    count = min(device_bytes // need, max_per_gpu)
    if count == 0:
        raise DemandError(
            f"needs {need / GIB:.1f} GiB of a card's {device_bytes / GIB:.1f} GiB: "
            "lower the batch size or choose a larger card"
        )
    return int(count)


def fits(peak_bytes: int, device_bytes: int) -> bool:
    """Return whether a trial fits a card alone.

    >>> fits(14 * GIB, 15 * GIB), fits(12 * GIB, 15 * GIB)
    (False, True)
    """
    return int(peak_bytes * HEADROOM) + CONTEXT_BYTES <= device_bytes


def spread(trials: int, *, cards: float) -> int:
    """Return the trials per card at which all trials of a sweep run at once.

    More trials per card would leave cards idle. `MAX_SLOTS` if a number is unknown.

    >>> spread(40, cards=16), spread(4, cards=4), spread(0, cards=4)
    (3, 1, 16)
    """
    return math.ceil(trials / cards) if trials and cards else MAX_SLOTS


def share(count: int) -> float:
    """Return the share of one card of each of `count` trials.

    1/n lets equal trials fill a card, and lets Ray reuse a worker, whose cache is
    keyed by the exact request. Ray keeps four digits; the share is rounded down,
    since 3 x 0.3334 would exceed one card.

    >>> share(1), share(4), share(3)
    (1.0, 0.25, 0.3333)
    """
    return int(10_000 / count) / 10_000


def per_card(gpus: float) -> int:
    """Return the number of trials of a share that one card holds; 0 for no share.

    Per card, not per cluster: 0.15 on 8 cards is 48 trials, not 53 (ray#5902).

    >>> per_card(0.15), per_card(0.3333), per_card(1.0), per_card(2.0)
    (6, 3, 1, 1)
    """
    return max(1, int(1 / gpus + EPSILON)) if gpus else 0


def memory_fraction(
    gpus: float, *, device_bytes: int = 0, context_bytes: int = CONTEXT_BYTES
) -> float:
    """Return the part of a card's memory that torch's allocator may take for a share.

    CUDA contexts take memory outside of every allocator, so a share is reduced by its
    own context. Whole cards have no limit (1.0).

    Args:
        device_bytes: memory of the card; with 0 (unknown) contexts are ignored.

    >>> round(memory_fraction(0.25, device_bytes=16 * GIB), 3)
    0.219
    """
    if not 0 < gpus < 1:
        return 1.0
    context = context_bytes / device_bytes if device_bytes else 0.0
    return max(gpus - context, 0.01)


def cpus(gpus: float, *, node_cpus: float, node_gpus: float) -> float:
    """Divide a node's cores among the trials that its cards hold.

    >>> cpus(0.25, node_cpus=8, node_gpus=1), cpus(0.3333, node_cpus=4, node_gpus=1)
    (2.0, 1.33)
    """
    return max(MIN_CPUS, int(node_cpus * gpus / node_gpus * 100 + EPSILON) / 100)


def loader_workers(asked: int, *, cores: float) -> int:
    """Return the loader workers of a trial: as requested, but at most its cores.

    >>> [loader_workers(n, cores=c) for n, c in ((4, 1.33), (0, 4.0), (2, 0.5))]
    [1, 0, 1]
    """
    return min(asked, max(1, int(cores)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine of a cluster.

    Attributes:
        accelerator: type of its cards; "" if unknown or without cards.
        device_bytes: memory of each card; 0 if unknown.
    """

    cpus: float
    gpus: int = 0
    accelerator: str = ""
    device_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The placement of a demand: a node and its cards."""

    node: int
    cards: tuple[int, ...] = ()


@dataclass(slots=True)
class Room:
    """The free part of a cluster, card by card.

    Args:
        nodes: the machines.
    """

    nodes: Sequence[Node]
    _cpus: list[float] = field(init=False)
    _cards: list[list[float]] = field(init=False)

    def __post_init__(self) -> None:
        self._cpus = [node.cpus for node in self.nodes]
        self._cards = [[1.0] * node.gpus for node in self.nodes]

    def find(self, demand: Demand) -> Place | None:
        """Return the fullest place with room, as Ray chooses it; None if it is full."""
        best: tuple[float, Place] | None = None
        for index, node in enumerate(self.nodes):
            is_other = demand.accelerator not in ("", node.accelerator)
            if is_other or self._cpus[index] < demand.cpus - EPSILON:
                continue
            found = _cards(self._cards[index], demand.gpus)
            if found is None:
                continue
            cards, left = found
            place = Place(node=index, cards=cards)
            if best is None or left < best[0]:
                best = (left, place)
        return best[1] if best else None

    def take(self, demand: Demand, place: Place) -> None:
        """Mark a demand as placed."""
        self._change(demand, place, -1)

    def give(self, demand: Demand, place: Place) -> None:
        """Free the place of a demand."""
        self._change(demand, place, 1)

    def _change(self, demand: Demand, place: Place, sign: int) -> None:
        self._cpus[place.node] += sign * demand.cpus
        part = min(demand.gpus, 1.0)
        for card in place.cards:
            self._cards[place.node][card] += sign * part

    def load(self) -> list[float]:
        """Return the part of each card that is taken, node by node."""
        return [1.0 - free for cards in self._cards for free in cards]


def _cards(free: Sequence[float], gpus: float) -> tuple[tuple[int, ...], float] | None:
    """Return cards for a demand, and the free part that they would have left."""
    if gpus == 0:
        return (), 0.0
    if gpus >= 1:
        empty = [i for i, part in enumerate(free) if part >= 1.0 - EPSILON]
        count = round(gpus)
        return (tuple(empty[:count]), 0.0) if len(empty) >= count else None
    fitting = [(part, i) for i, part in enumerate(free) if part >= gpus - EPSILON]
    if not fitting:
        return None
    part, card = min(fitting)
    return (card,), part - gpus


def capacity(demand: Demand, nodes: Iterable[Node]) -> int:
    """Return the number of trials of one demand that a cluster holds at once."""
    room = Room(list(nodes))
    count = 0
    while (place := room.find(demand)) is not None:
        room.take(demand, place)
        count += 1
    return count


# ---- after a trial ran out of memory


class OomAction(StrEnum):
    """The next attempt of a trial that ran out of its share of a card's memory."""

    SHARE = "share"  # with a larger share
    SHRINK = "shrink"  # alone, with half the batch and twice the accumulation
    INFEASIBLE = "infeasible"  # no further attempt

    @classmethod
    def after(cls, per_card: int, *, is_shrunk: bool, may_shrink: bool) -> "OomAction":
        """Return the action after a trial ran out of memory.

        Args:
            per_card: trials per card when it ran out; 1 if it was alone.
            is_shrunk: whether its batch is already halved.
            may_shrink: whether the experiment and its config allow halving.

        >>> OomAction.after(4, is_shrunk=False, may_shrink=True).value
        'share'
        >>> [OomAction.after(1, is_shrunk=x, may_shrink=True).value for x in (0, 1)]
        ['shrink', 'infeasible']
        """
        if per_card > 1:
            return cls.SHARE
        return cls.SHRINK if may_shrink and not is_shrunk else cls.INFEASIBLE


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchKeys:
    """The keys of a config that hold its batch size and gradient accumulation.

    Attributes:
        batch: dotted key, "" if the config has none.
        accumulation: dotted key of the number of batches per optimizer step.
        batch_size: the config's own value, 0 if it has none.
        accumulate: the config's own value.
    """

    batch: str = ""
    accumulation: str = ""
    batch_size: int = 0
    accumulate: int = 1

    @property
    def is_complete(self) -> bool:
        """Whether the batch can be halved without changing the effective batch."""
        return bool(self.batch and self.accumulation)


def halve_batch(overrides: Sequence[str], keys: BatchKeys) -> tuple[str, ...]:
    """Return overrides that halve the batch and keep the effective batch.

    An odd batch is rounded down. A batch of one is not changed.

    >>> keys = BatchKeys(batch="data.bs", accumulation="t.acc", batch_size=64)
    >>> halve_batch(["model=x", "data.bs=32"], keys)
    ('data.bs=16', 't.acc=2')
    """
    size = _last(overrides, keys.batch, keys.batch_size)
    steps = _last(overrides, keys.accumulation, keys.accumulate)
    if size < 2:
        return ()
    return (f"{keys.batch}={size // 2}", f"{keys.accumulation}={steps * 2}")


def _last(overrides: Sequence[str], key: str, default: int) -> int:
    values = [
        value
        for name, _, value in (word.lstrip("+").partition("=") for word in overrides)
        if name == key and value.isdigit()
    ]
    return int(values[-1]) if values else default

"""What the trials of a sweep have taught about each memory key; a function of its rows.

Peaks that were measured, shares that were too small, speeds beside neighbours.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.cards import packing
from sweeper.memory import kinds

RATES_KEPT = 8  # newest speeds of one key and packing


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What is known of one memory key.

    Attributes:
        peak_bytes: most that a trial of it has allocated, 0 for not measured.
        too_many: fewest trials a card at which one ran out of memory, 0 for never.
        is_shrunk: whether even a whole card was too small, so that the batch is halved.
        is_infeasible: whether nothing is left to try.
        rates: steps a second of single trials, by trials a card.
    """

    peak_bytes: int = 0
    too_many: int = 0
    is_shrunk: bool = False
    is_infeasible: bool = False
    rates: Mapping[int, tuple[float, ...]] = field(default_factory=dict)


NOTHING = Lesson()


def learn(rows: Iterable[Mapping[str, Any]]) -> dict[str, Lesson]:
    """The lesson of each memory key.

    Args:
        rows: attributes of the sweep's rows, as the journal wrote them; a row that
            never started has no `memory_key` and teaches nothing.
    """
    by_key: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for attributes in rows:
        if "memory_key" in attributes:
            by_key[attributes["memory_key"]].append(attributes)
    return {key: _lesson(found) for key, found in by_key.items()}


def _lesson(rows: list[Mapping[str, Any]]) -> Lesson:
    whole = [row for row in rows if not row.get("is_shrunk")]
    rates: dict[int, list[float]] = defaultdict(list)
    for row in whole:
        for count, rate in row.get("progress", {}).get("rates", {}).items():
            rates[int(count)].append(rate)
    shares = [share for row in rows for share in row.get("oom_shares", ())]
    return Lesson(
        peak_bytes=max(
            (int(row.get("progress", {}).get("peak_bytes", 0)) for row in whole),
            default=0,
        ),
        too_many=min((packing.per_card(share) for share in shares), default=0),
        is_shrunk=any(row.get("is_shrunk") for row in rows),
        is_infeasible=any(row.get("is_infeasible") for row in rows),
        rates={count: tuple(r[-RATES_KEPT:]) for count, r in sorted(rates.items())},
    )


def is_hopeless(key: str, lessons: Mapping[str, Lesson]) -> bool:
    """Whether the same trial with this or a smaller batch has proved infeasible."""
    rest, size = kinds.family(key)
    for other, lesson in lessons.items():
        if lesson.is_infeasible:
            other_rest, other_size = kinds.family(other)
            if rest == other_rest and size >= other_size:
                return True
    return False

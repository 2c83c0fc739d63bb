"""What the trials of a sweep have taught about each memory key; a function of its rows.

Peaks that were measured, shares that were too small, speeds beside neighbours. All but
the peaks are lessons of one type of card and say nothing of another.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sweeper.cards import packing
from sweeper.memory import kinds

RATES_KEPT = 8  # newest speeds of one key and packing

Rates: TypeAlias = Mapping[str, Mapping[int, tuple[float, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What is known of one memory key.

    Attributes:
        peak_bytes: most that a trial of it has allocated, 0 for not measured.
        too_many: fewest trials a card at which one ran out of memory, 0 for never.
        is_shrunk: whether even a whole card was too small, so that the batch is halved.
        is_infeasible: whether nothing is left to try.
        rates: steps a second of single trials, by type of card and trials on it.
    """

    peak_bytes: int = 0
    too_many: int = 0
    is_shrunk: bool = False
    is_infeasible: bool = False
    rates: Rates = field(default_factory=dict)


NOTHING = Lesson()


def learn(
    rows: Iterable[Mapping[str, Any]], *, cards: Collection[str] = ()
) -> dict[str, Lesson]:
    """The lesson of each memory key.

    Args:
        cards: types whose lessons count; () for all.
        rows: attributes of the sweep's rows, as the journal wrote them; a row that
            never started has no `memory_key` and teaches nothing.
    """
    by_key: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for attributes in rows:
        if "memory_key" in attributes:
            by_key[attributes["memory_key"]].append(attributes)
    return {key: _lesson(found, cards) for key, found in by_key.items()}


def _lesson(rows: list[Mapping[str, Any]], cards: Collection[str]) -> Lesson:
    whole = [row for row in rows if not row.get("is_shrunk")]
    shares = [
        share
        for row in rows
        for card, found in row.get("oom_shares", {}).items()
        if not cards or card in cards
        for share in found
    ]
    here = [row for row in rows if not cards or row.get("card", "") in cards]
    return Lesson(
        peak_bytes=max(
            (int(row.get("progress", {}).get("peak_bytes", 0)) for row in whole),
            default=0,
        ),
        too_many=min((packing.per_card(share) for share in shares), default=0),
        is_shrunk=any(row.get("is_shrunk") for row in here),
        is_infeasible=any(row.get("is_infeasible") for row in here),
        rates=_rates(whole, cards),
    )


def _rates(rows: list[Mapping[str, Any]], cards: Collection[str]) -> Rates:
    found: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        for card, rates in row.get("progress", {}).get("rates", {}).items():
            if not cards or card in cards:
                for count, rate in rates.items():
                    of_card = found.setdefault(card, {})
                    of_card.setdefault(int(count), []).append(rate)
    return {
        card: {count: tuple(r[-RATES_KEPT:]) for count, r in sorted(rates.items())}
        for card, rates in found.items()
    }


def is_hopeless(key: str, lessons: Mapping[str, Lesson]) -> bool:
    """Whether the same trial with this or a smaller batch has proved infeasible."""
    rest, size = kinds.family(key)
    for other, lesson in lessons.items():
        if lesson.is_infeasible:
            other_rest, other_size = kinds.family(other)
            if rest == other_rest and size >= other_size:
                return True
    return False

"""What the trials of a sweep have taught about each memory key; a function of its rows.

Peaks that were measured, shares that were too small, speeds beside neighbours. All but
the peaks are lessons of one type of card and say nothing of another.
"""

import bisect
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from sweeper.cards import packing
from sweeper.memory import kinds

RATES_KEPT = 8  # newest speeds of one key and packing

_Term = TypeVar("_Term", int, tuple[int, float])
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
) -> Mapping[str, Lesson]:
    """The lesson of each memory key.

    Args:
        cards: types whose lessons count; () for all.
        rows: attributes of the sweep's rows, as the journal wrote them; a row that
            never started has no `memory_key` and teaches nothing.
    """
    found = Lessons(cards)
    found.look(dict(enumerate(rows)))
    return found.all()


class Lessons:
    """What `learn` says of rows that change, at the cost of those that did."""

    def __init__(self, cards: Collection[str] = ()) -> None:
        self._cards = cards
        self._rows: dict[int, tuple[str, _Taught]] = {}
        self._groups: dict[str, _Group] = defaultdict(_Group)
        self._known: dict[str, Lesson] = {}
        self._stale: set[str] = set()  # keys whose lesson is not known

    def look(self, rows: Mapping[int, Mapping[str, Any]]) -> None:
        """Look at the attributes of rows that are new or were written to, by place."""
        for place, attributes in rows.items():
            if place in self._rows:
                key, taught = self._rows.pop(place)
                self._groups[key].remove(place, taught)
                self._stale.add(key)
            if "memory_key" in attributes:
                key, taught = attributes["memory_key"], _taught(attributes, self._cards)
                self._rows[place] = (key, taught)
                self._groups[key].add(place, taught)
                self._stale.add(key)

    def all(self) -> Mapping[str, Lesson]:
        """The lesson of each memory key that a row has."""
        for key in self._stale:
            if self._groups[key].size:
                self._known[key] = self._groups[key].lesson()
            else:
                self._known.pop(key, None)
        self._stale.clear()
        return self._known


@dataclass(frozen=True, slots=True)
class _Taught:
    """What one row says of its memory key."""

    peak: int
    too_many: int  # 0 for never
    is_shrunk: bool
    is_infeasible: bool
    rates: tuple[tuple[str, int, float], ...]


def _taught(row: Mapping[str, Any], cards: Collection[str]) -> _Taught:
    def counts(card: str) -> bool:
        return not cards or card in cards

    progress = {} if row.get("is_shrunk") else row.get("progress", {})
    shares = [
        share
        for card, found in row.get("oom_shares", {}).items()
        if counts(card)
        for share in found
    ]
    is_here = counts(row.get("card", ""))
    return _Taught(
        peak=int(progress.get("peak_bytes", 0)),
        too_many=min(map(packing.per_card, shares), default=0),
        is_shrunk=is_here and bool(row.get("is_shrunk")),
        is_infeasible=is_here and bool(row.get("is_infeasible")),
        rates=tuple(
            (card, int(count), rate)
            for card, rates in progress.get("rates", {}).items()
            if counts(card)
            for count, rate in rates.items()
        ),
    )


class _Group:
    """What the rows of one memory key say, each list in order."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[int] = []
        self._too_many: list[int] = []
        self._num_shrunk = 0
        self._num_infeasible = 0
        self._rates: dict[tuple[str, int], list[tuple[int, float]]] = defaultdict(list)

    def add(self, place: int, taught: _Taught) -> None:
        """Count a row."""
        self._count(taught, by=1)
        bisect.insort(self._peaks, taught.peak)
        if taught.too_many:
            bisect.insort(self._too_many, taught.too_many)
        for card, count, rate in taught.rates:
            bisect.insort(self._rates[card, count], (place, rate))

    def remove(self, place: int, taught: _Taught) -> None:
        """Count a row no longer; `taught` as it was added."""
        self._count(taught, by=-1)
        _drop(self._peaks, taught.peak)
        if taught.too_many:
            _drop(self._too_many, taught.too_many)
        for card, count, rate in taught.rates:
            _drop(self._rates[card, count], (place, rate))

    def _count(self, taught: _Taught, *, by: int) -> None:
        self.size += by
        self._num_shrunk += by * taught.is_shrunk
        self._num_infeasible += by * taught.is_infeasible

    def lesson(self) -> Lesson:
        """All of it as one lesson."""
        rates: dict[str, dict[int, tuple[float, ...]]] = {}
        for (card, count), found in sorted(self._rates.items()):
            if found:
                newest = tuple(rate for _, rate in found[-RATES_KEPT:])
                rates.setdefault(card, {})[count] = newest
        return Lesson(
            peak_bytes=self._peaks[-1],
            too_many=self._too_many[0] if self._too_many else 0,
            is_shrunk=self._num_shrunk > 0,
            is_infeasible=self._num_infeasible > 0,
            rates=rates,
        )


def _drop(ordered: list[_Term], term: _Term) -> None:
    del ordered[bisect.bisect_left(ordered, term)]


def is_hopeless(key: str, lessons: Mapping[str, Lesson]) -> bool:
    """Whether the same trial with this or a smaller batch has proved infeasible."""
    rest, size = kinds.family(key)
    for other, lesson in lessons.items():
        if lesson.is_infeasible:
            other_rest, other_size = kinds.family(other)
            if rest == other_rest and size >= other_size:
                return True
    return False

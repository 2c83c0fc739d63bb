"""The memory and speed of the trials of each memory key, as observed on cards.

Peaks that were measured, shares that were too small, speeds beside neighbours. All but
the peaks hold for one type of card only. A function of the sweep's records.
"""

import bisect
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from sweeper.journal.record import TrialRecord
from sweeper.packing import memory_key, packing

RATES_KEPT = 8  # newest speeds of one key and packing
Rates = Mapping[str, Mapping[int, tuple[float, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """The observations of one memory key.

    Attributes:
        peak_bytes: most that a trial of it has allocated, 0 if it was not measured.
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
    records: Iterable[TrialRecord], *, cards: Collection[str] = ()
) -> Mapping[str, Lesson]:
    """Return the observations of each memory key.

    Args:
        cards: types of cards that count; () for all.
        records: of the sweep; a trial that never started has no `memory_key` and says
            nothing.
    """
    lessons = Lessons(cards)
    lessons.look(dict(enumerate(records)))
    return lessons.all()


class Lessons:
    """The observations of records that change; a change costs the same in any sweep."""

    def __init__(self, cards: Collection[str] = ()) -> None:
        self._cards = cards
        self._terms: dict[int, tuple[str, _Terms]] = {}
        self._keys: dict[str, dict[_Name, list[tuple[float, ...]]]] = {}
        self._merged: dict[str, Lesson] = {}

    def look(self, records: Mapping[int, TrialRecord]) -> None:
        """Take records that are new or have changed, by index."""
        for index, record in records.items():
            if index in self._terms:
                key, terms = self._terms.pop(index)
                self._merged.pop(key, None)
                for name, term in terms:
                    ordered = self._keys[key][name]
                    del ordered[bisect.bisect_left(ordered, term)]
            if record.memory_key:
                key, terms = record.memory_key, _terms(index, record, self._cards)
                self._terms[index] = (key, terms)
                self._merged.pop(key, None)
                for name, term in terms:
                    group = self._keys.setdefault(key, defaultdict(list))
                    bisect.insort(group[name], term)

    def all(self) -> Mapping[str, Lesson]:
        """Return the observations of each memory key that a record has."""
        for key, group in self._keys.items():
            if group["peak"] and key not in self._merged:
                self._merged[key] = _lesson(group)
        return self._merged


_Name = str | tuple[str, int]  # (type of card, trials on it) has speeds
_Terms = list[tuple[_Name, tuple[float, ...]]]


def _terms(index: int, record: TrialRecord, cards: Collection[str]) -> _Terms:
    """Return the observations of one trial, each with the name of its sorted list."""

    def counts(card: str) -> bool:
        return not cards or card in cards

    is_whole = not record.is_shrunk
    terms: _Terms = [("peak", (record.peak_bytes if is_whole else 0,))]
    terms += [
        ("too_many", (packing.per_card(share),))
        for card, shares in record.oom_shares.items()
        if counts(card)
        for share in shares
    ]
    if counts(record.card):
        terms += [("is_shrunk", (1,))] if record.is_shrunk else []
        terms += [("is_infeasible", (1,))] if record.is_infeasible else []
    terms += [
        ((card, int(count)), (index, rate))
        for card, rates in record.rates.items()
        if is_whole and counts(card)
        for count, rate in rates.items()
    ]
    return terms


def _lesson(group: Mapping[_Name, list[tuple[float, ...]]]) -> Lesson:
    rates: dict[str, dict[int, tuple[float, ...]]] = {}
    for name, ordered in group.items():
        if isinstance(name, tuple) and ordered:
            newest = tuple(rate for _, rate in ordered[-RATES_KEPT:])
            rates.setdefault(name[0], {})[name[1]] = newest
    too_many = group.get("too_many")
    return Lesson(
        peak_bytes=int(group["peak"][-1][0]),
        too_many=int(too_many[0][0]) if too_many else 0,
        is_shrunk=bool(group.get("is_shrunk")),
        is_infeasible=bool(group.get("is_infeasible")),
        rates=rates,
    )


def is_hopeless(key: str, lessons: Mapping[str, Lesson]) -> bool:
    """Return whether the same trial with this or a smaller batch proved infeasible."""
    rest, size = memory_key.family(key)
    infeasible = [k for k, lesson in lessons.items() if lesson.is_infeasible]
    return any(
        other_rest == rest and size >= other_size
        for other_rest, other_size in map(memory_key.family, infeasible)
    )

"""The memory and speed of the trials of each memory key, as observed on cards.

Observations are measured peaks, shares that were too small, and speeds beside other
trials. All but the peaks hold for one type of card only. They depend on the sweep's
records alone.
"""

import bisect
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from sweeper.journal.record import TrialRecord
from sweeper.packing import memory, packing

RATES_KEPT = 8  # newest speeds of one key and packing
GAIN = 1.05  # least growth of steps a second of a card for one more trial on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The observations of one memory key.

    Attributes:
        peak_bytes: most that a trial of the key has allocated; 0 if not measured.
        too_many: fewest trials per card at which one ran out of memory; 0 for never.
        is_shrunk: whether the batch is halved, since a whole card was too small.
        is_infeasible: whether a trial ran out of memory after the last remedy.
        rates: steps a second of single trials, by type of card and trials on it.
    """

    peak_bytes: int = 0
    too_many: int = 0
    is_shrunk: bool = False
    is_infeasible: bool = False
    rates: Mapping[str, Mapping[int, tuple[float, ...]]] = field(default_factory=dict)


NOTHING = Observed()
_Name = str | tuple[str, int]  # a field of `Observed`, or (type of card, trials on it)
_Terms = Sequence[tuple[_Name, tuple[float, ...]]]


class Observations:
    """Observations over changing records, updated at a cost per change.

    Args:
        cards: types of cards that count; () for all.

    Attributes:
        by_key: the observations of each memory key that a record has.
    """

    def __init__(self, cards: Collection[str] = ()) -> None:
        self._cards = cards
        self._terms: dict[int, _Terms] = {}
        self._sorted: dict[str, dict[_Name, list[tuple[float, ...]]]] = {}
        self._infeasible: set[str] = set()
        self.by_key: dict[str, Observed] = {}

    def update(self, records: Mapping[int, TrialRecord]) -> None:
        """Update with new or changed records, by index.

        A trial that never started has no memory key and is skipped.
        """
        started = {i: r for i, r in records.items() if r.memory_key}
        for index, record in started.items():
            group = self._sorted.setdefault(record.memory_key, defaultdict(list))
            for name, term in self._terms.get(index, ()):
                del group[name][bisect.bisect_left(group[name], term)]
            self._terms[index] = [*_terms(index, record, self._cards)]
            for name, term in self._terms[index]:
                bisect.insort(group[name], term)
        for key in {record.memory_key for record in started.values()}:
            self.by_key[key] = _observed(self._sorted[key])
            if self.by_key[key].is_infeasible:
                self._infeasible.add(key)
            else:
                self._infeasible.discard(key)

    def is_infeasible(self, key: str) -> bool:
        """Return whether this or a smaller batch of the key fits no whole card."""
        rest, size = memory.family(key)
        families = map(memory.family, self._infeasible)
        return any(rest == other and size >= smaller for other, smaller in families)


def _terms(
    index: int, record: TrialRecord, cards: Collection[str]
) -> Iterator[tuple[_Name, tuple[float, ...]]]:
    """Yield the observations of one trial, each with the name of its sorted list."""

    def counts(card: str) -> bool:
        return not cards or card in cards

    for card, shares in record.oom_shares.items():
        for share in shares if counts(card) else ():
            yield "too_many", (packing.per_card(share),)
    for name in ("is_shrunk", "is_infeasible"):
        if getattr(record, name) and counts(record.card):
            yield name, (1,)
    if not record.is_shrunk:
        yield "peak_bytes", (record.peak_bytes,)
        for card, rates in record.rates.items():
            for count, rate in rates.items() if counts(card) else ():
                yield (card, int(count)), (index, rate)


def _observed(group: Mapping[_Name, Sequence[tuple[float, ...]]]) -> Observed:
    rates: dict[str, dict[int, tuple[float, ...]]] = {}
    for name, ordered in group.items():
        if isinstance(name, tuple) and ordered:
            newest = tuple(rate for _, rate in ordered[-RATES_KEPT:])
            rates.setdefault(name[0], {})[name[1]] = newest
    peaks, too_many = group.get("peak_bytes"), group.get("too_many")
    return Observed(
        peak_bytes=int(peaks[-1][0]) if peaks else 0,
        too_many=int(too_many[0][0]) if too_many else 0,
        is_shrunk=bool(group.get("is_shrunk")),
        is_infeasible=bool(group.get("is_infeasible")),
        rates=rates,
    )


# ---- trials per card, by their speeds


def steps_per_second(
    rates: Mapping[int, Sequence[float]], per_card: int
) -> float | None:
    """Return the steps a second of a whole card; None if not measured."""
    speeds = rates.get(per_card)
    return per_card * median(speeds) if speeds else None


def best_per_card(
    rates: Mapping[int, Sequence[float]], *, limit: int
) -> tuple[int, bool]:
    """Return the number of trials to put on a card, and whether it is settled.

    It is the largest number at which a card does at least `GAIN` times the steps that
    it does with one trial less. Beyond it, trials only wait for each other. The steps
    of a card rise with its trials up to a limit, so bisection finds it. If it needs
    a number without a measured speed, it returns this number, to get it measured.

    Args:
        rates: steps a second of single trials, by trials per card.
        limit: most trials that memory allows.

    >>> best_per_card({}, limit=4)
    (4, False)
    >>> best_per_card({4: [1.0], 3: [1.0], 2: [1.0]}, limit=4)
    (4, True)
    >>> best_per_card({4: [0.5], 3: [0.66], 2: [1.0], 1: [1.0]}, limit=4)
    (2, True)
    """
    low, high = 1, limit
    if steps_per_second(rates, limit) is None:
        return limit, limit == 1
    while low < high:
        count = (low + high + 1) // 2
        more = steps_per_second(rates, count)
        less = steps_per_second(rates, count - 1)
        if more is None or less is None:
            return (count if more is None else count - 1), False
        if more >= GAIN * less:
            low = count
        else:
            high = count - 1
    return low, True

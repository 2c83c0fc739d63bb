"""How many trials a card are worth it, learnt from their speeds.

One more trial on a card is kept only while all of them together do at least 5 % more
steps a second; beyond that they only wait for each other.
"""

from collections.abc import Mapping, Sequence
from statistics import median

GAIN = 1.05


def total(rates: Mapping[int, Sequence[float]], count: int) -> float | None:
    """Steps a second of a whole card at so many trials; None where nobody knows."""
    found = rates.get(count, ())
    return count * median(found) if found else None


def best(rates: Mapping[int, Sequence[float]], *, limit: int) -> tuple[int, bool]:
    """How many trials to put on a card, and whether that is settled.

    The largest count whose total is at least `GAIN` times that of one trial less;
    totals rise and then do not, so it is found by halving. A count that has no speed
    yet is the answer until it has one.

    Args:
        rates: steps a second of single trials, by trials a card.
        limit: what memory allows.

    >>> best({}, limit=4)
    (4, False)
    >>> best({4: [1.0], 3: [1.0], 2: [1.0]}, limit=4)
    (4, True)
    >>> best({4: [0.5], 3: [0.66], 2: [1.0], 1: [1.0]}, limit=4)
    (2, True)
    """
    low, high = 1, limit
    first = total(rates, limit)
    if first is None:
        return limit, limit == 1
    while low < high:
        count = (low + high + 1) // 2
        for asked in (count, count - 1):
            if total(rates, asked) is None:
                return asked, False
        more, less = total(rates, count), total(rates, count - 1)
        assert more is not None  # noqa: S101  # seen above
        assert less is not None  # noqa: S101
        if more >= GAIN * less:
            low = count
        else:
            high = count - 1
    return low, True

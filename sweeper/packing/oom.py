"""What follows when a trial ran out of its share of a GPU's memory.

Twice the share, and again; a whole card; half the batch where that is allowed; then
nothing: the point is infeasible on this card.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Rung(StrEnum):
    """What to do with a trial after it ran out of memory."""

    SHARE = "share"  # again with a larger share
    SHRINK = "shrink"  # again alone, with half the batch and twice the accumulation
    INFEASIBLE = "infeasible"


def after(per_card: int, *, is_shrunk: bool, may_shrink: bool) -> Rung:
    """The next rung.

    Args:
        per_card: trials a card when it ran out; 1 for alone.
        is_shrunk: whether its batch was halved already.
        may_shrink: whether the experiment and its config let it be.

    >>> [after(n, is_shrunk=False, may_shrink=True).value for n in (4, 1)]
    ['share', 'shrink']
    >>> after(1, is_shrunk=True, may_shrink=True).value
    'infeasible'
    """
    if per_card > 1:
        return Rung.SHARE
    return Rung.SHRINK if may_shrink and not is_shrunk else Rung.INFEASIBLE


def fewer(too_many: int) -> int:
    """Trials a card after so many were too many: twice the share each.

    >>> [fewer(n) for n in (12, 3, 2, 1)]
    [6, 1, 1, 1]
    """
    return max(1, too_many // 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchKeys:
    """Where a config has its batch size and its gradient accumulation.

    Attributes:
        batch: dotted key, "" where the config has none.
        accumulation: the same of the number of batches that make a step.
        batch_size: the config's own value, 0 for none.
        accumulate: the config's own value.
    """

    batch: str = ""
    accumulation: str = ""
    batch_size: int = 0
    accumulate: int = 1

    @property
    def is_complete(self) -> bool:
        """Whether a batch can be halved without another effective batch."""
        return bool(self.batch and self.accumulation)


def shrunk(overrides: Sequence[str], keys: BatchKeys) -> tuple[str, ...]:
    """Overrides that come last and halve the batch; the effective one stays.

    An odd batch is rounded down; a batch of one stays and so does its accumulation.

    >>> keys = BatchKeys(batch="data.bs", accumulation="t.acc", batch_size=64)
    >>> shrunk(["model=x", "data.bs=32"], keys)
    ('data.bs=16', 't.acc=2')
    """
    size = _last(overrides, keys.batch, keys.batch_size)
    steps = _last(overrides, keys.accumulation, keys.accumulate)
    if size < 2:
        return ()
    return (f"{keys.batch}={size // 2}", f"{keys.accumulation}={steps * 2}")


def _last(overrides: Sequence[str], key: str, default: int) -> int:
    """The value that the last override of a key sets."""
    values = [
        value
        for name, _, value in (word.lstrip("+").partition("=") for word in overrides)
        if name == key and value.isdigit()
    ]
    return int(values[-1]) if values else default

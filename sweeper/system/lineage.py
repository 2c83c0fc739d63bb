"""Where a trial of a population comes from: values that the journal keeps with its row.

It decides nothing; `population` does.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The place of a trial in population-based training.

    Attributes:
        parent: id of the trial whose checkpoint it starts from; "" for none.
        generation: 0 for the trials that start from nothing.
        member: its place in the population, from 0.
        start: epochs that its parent had trained.
        until: epoch at whose end its generation ends.
    """

    parent: str
    generation: int
    member: int
    start: int
    until: int


def parent(of: Lineage | None) -> str:
    """The id of a trial's parent; "" for none."""
    return "" if of is None else of.parent


def start(of: Lineage | None) -> int:
    """Epochs that were trained before a trial began."""
    return 0 if of is None else of.start

"""Check that a fit stands where its checkpoint says, before it trains on.

What restores or trains something after a resume, such as a callback that searches for a
learning rate, would otherwise go unnoticed and give wrong numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

Counter: TypeAlias = tuple[int, int]  # of an optimizer: most steps, states


class MisplacedFitError(Exception):
    """A fit that does not stand where it was restored to."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a fit stands.

    Attributes:
        epoch: epochs done; None if a file of the project's does not say.
        step: the Trainer's global step.
        counters: for each optimizer the most steps that a parameter has made, and the
            number of parameters that it keeps a state for.
    """

    epoch: int | None
    step: int
    counters: tuple[Counter, ...]

    def differences(self, now: "Position") -> str:
        """Return how a fit that now stands at `now` differs; "" if it does not."""
        pairs = [("global step", self.step, now.step)]
        if self.epoch is not None and now.epoch is not None:
            pairs.insert(0, ("epoch", self.epoch, now.epoch))
        for index, (old, new) in enumerate(_pairs(self, now)):
            name = f"optimizer {index}"
            pairs += [(f"steps of {name}", old[0], new[0])]
            pairs += [(f"parameters with a state in {name}", old[1], new[1])]
        return ", ".join(
            f"{name} {new} instead of {old}" for name, old, new in pairs if old != new
        )


def of_trainer(trainer: "Trainer") -> Position:
    """Return where the fit of a Trainer stands now."""
    states = [optimizer.state.values() for optimizer in trainer.optimizers]
    return Position(trainer.current_epoch, trainer.global_step, _counters(states))


def of_checkpoint(checkpoint: Mapping[str, Any], *, is_ours: bool) -> Position:
    """Return where a checkpoint puts a fit."""
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    states = [
        optimizer.get("state", {}).values()
        for optimizer in checkpoint.get("optimizer_states", ())
    ]
    epoch = epochs["completed"] if is_ours else None
    return Position(epoch, checkpoint["global_step"], _counters(states))


def check(
    expected: Position,
    trainer: "Trainer",
    *,
    source: str,
    is_fresh: bool,
    may_reset: bool,
) -> None:
    """Compare a fit with the place that it was restored to, or began at.

    Args:
        expected: that place.
        trainer: of the fit.
        source: the checkpoint that was restored, "" if there was none.
        is_fresh: whether nothing was restored; then a hook may load the optimizers.
        may_reset: whether a hook of the epoch may have started optimizers anew.

    Raises:
        MisplacedFitError: it stands elsewhere.
    """
    now = of_trainer(trainer)
    if is_fresh:
        expected = replace(expected, counters=now.counters)
    elif may_reset:
        kept = [new if new == (0, 0) else old for old, new in _pairs(expected, now)]
        expected = replace(expected, counters=tuple(kept))
    differences = expected.differences(now)
    if differences:
        raise MisplacedFitError(
            f"resume: the fit is not where {source or 'a new fit'} puts it: "
            f"{differences}; a callback or a hook has restored or trained something "
            "since then; remove it, or let it finish before the fit"
        )


def _counters(states: Sequence[Any]) -> tuple[Counter, ...]:
    return tuple(
        (
            max((int(state.get("step", 0)) for state in kept), default=0),
            len(kept),
        )
        for kept in ([s for s in part if isinstance(s, dict) and s] for part in states)
    )


def _pairs(one: Position, other: Position) -> list[tuple[Counter, Counter]]:
    """Return the counters side by side; a missing optimizer has done nothing."""
    return list(zip_longest(one.counters, other.counters, fillvalue=(0, 0)))

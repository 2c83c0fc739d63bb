"""How the trials of a sweep share cards, and what they taught about it; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.cards import packing, throughput
from sweeper.cards.lessons import Lesson, learn
from sweeper.cards.packing import MIB
from sweeper.trial import Sweep, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The trials of one memory key.

    Attributes:
        per_card: how many shared a card at the newest start.
        best: how many are worth it, by their speeds; 0 for not measured.
        is_settled: whether more speeds would not change that.
    """

    key: str
    accelerator: str
    per_card: int
    best: int
    is_settled: bool
    lesson: Lesson


def packed(sweep: Sweep) -> tuple[Packed, ...]:
    """A line for each memory key that has started on a GPU."""
    newest: dict[str, Trial] = {}
    for trial in sweep.trials:
        if trial.memory_key:
            newest[trial.memory_key] = trial
    lessons = learn(_attributes(trial) for trial in sweep.trials if trial.memory_key)
    return tuple(_packed(newest[key], lessons[key]) for key in newest)


def _packed(trial: Trial, lesson: Lesson) -> Packed:
    best, is_settled = 0, False
    if lesson.rates:
        best, is_settled = throughput.best(lesson.rates, limit=max(lesson.rates))
    return Packed(
        key=trial.memory_key,
        accelerator=trial.demand.accelerator,
        per_card=packing.per_card(trial.demand.gpus),
        best=best,
        is_settled=is_settled,
        lesson=lesson,
    )


def _attributes(trial: Trial) -> Mapping[str, Any]:  # as the journal writes them
    return {
        "memory_key": trial.memory_key,
        "oom_shares": trial.oom_shares,
        "progress": {"peak_bytes": trial.peak_bytes, "rates": trial.rates},
    }


def lines(sweep: Sweep) -> Iterator[str]:
    """The same for people."""
    for found in packed(sweep):
        card = f"a {found.accelerator}" if found.accelerator else "a card"
        parts = [f"packing {found.key}: {found.per_card} {card}"]
        if found.lesson.peak_bytes:
            parts.append(f"peak {found.lesson.peak_bytes / MIB:.0f} MiB")
        if found.lesson.too_many:
            parts.append(f"{found.lesson.too_many} a card ran out of memory")
        total = throughput.total(found.lesson.rates, found.best)
        if total is not None:
            word = "best" if found.is_settled else "so far"
            parts.append(f"{total:.3g} steps/s a card with {found.best} ({word})")
        yield ", ".join(parts)


def to_json(sweep: Sweep) -> list[dict[str, object]]:
    """The same for programs."""
    return [
        {
            "key": found.key,
            "accelerator": found.accelerator,
            "per_card": found.per_card,
            "peak_bytes": found.lesson.peak_bytes,
            "out_of_memory_at": found.lesson.too_many,
            "best_per_card": found.best,
            "is_settled": found.is_settled,
            "rates": {str(k): list(v) for k, v in found.lesson.rates.items()},
        }
        for found in packed(sweep)
    ]

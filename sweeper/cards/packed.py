"""How the trials of a sweep share cards, and what they taught about it; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.cards import packing, throughput
from sweeper.cards.lessons import Lesson, learn
from sweeper.text import MIB
from sweeper.trial import Sweep, TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The trials of one memory key on one type of card.

    Attributes:
        per_card: how many shared a card at the newest start.
        best: how many are worth it, by their speeds; 0 for not measured.
        is_settled: whether more speeds would not change that.
        rates: steps a second of single trials, by trials a card.
        utilisation: of the cards while its trials ran, None for not measured.
    """

    key: str
    accelerator: str
    per_card: int
    best: int
    is_settled: bool
    rates: Mapping[int, Sequence[float]]
    utilisation: float | None
    lesson: Lesson


def packed(sweep: Sweep) -> tuple[Packed, ...]:
    """A line for each memory key and type of card that it has started on."""
    groups: dict[tuple[str, str], list[TrialRecord]] = {}
    for trial in sweep.trials:
        if trial.memory_key:
            groups.setdefault((trial.memory_key, trial.card), []).append(trial)
    return tuple(_packed(trials) for trials in groups.values())


def _packed(trials: Sequence[TrialRecord]) -> Packed:
    newest = trials[-1]
    lessons = learn(map(_attributes, trials), cards=(newest.card,))
    lesson = lessons[newest.memory_key]
    rates = lesson.rates.get(newest.card, {})
    best, is_settled = throughput.best(rates, limit=max(rates)) if rates else (0, False)
    busy = [t.utilisation for t in trials if t.utilisation is not None]
    return Packed(
        key=newest.memory_key,
        accelerator=newest.card,
        per_card=packing.per_card(newest.demand.gpus),
        best=best,
        is_settled=is_settled,
        rates=rates,
        utilisation=sum(busy) / len(busy) if busy else None,
        lesson=lesson,
    )


def _attributes(trial: TrialRecord) -> Mapping[str, Any]:  # as the journal writes them
    return {
        "memory_key": trial.memory_key,
        "card": trial.card,
        "oom_shares": trial.oom_shares,
        "progress": {"peak_bytes": trial.peak_bytes, "rates": trial.rates},
    }


def lines(sweep: Sweep) -> Iterator[str]:
    """The same for people."""
    for found in packed(sweep):
        parts = [f"packing {found.key}: {found.per_card} {_a_card(found.accelerator)}"]
        if found.lesson.peak_bytes:
            parts.append(f"peak {found.lesson.peak_bytes / MIB:.0f} MiB")
        if found.utilisation is not None:
            parts.append(f"{found.utilisation:.0%} busy")
        if found.lesson.too_many:
            parts.append(f"{found.lesson.too_many} a card ran out of memory")
        total = throughput.total(found.rates, found.best)
        if total is not None:
            word = "best" if found.is_settled else "so far"
            parts.append(f"{total:.3g} steps/s a card with {found.best} ({word})")
        yield ", ".join(parts)


def measured(trial: TrialRecord) -> str:
    """What a trial took of its card, as measured there; "" where nothing was."""
    parts = []
    if trial.peak_bytes:
        parts.append(f"peak {trial.peak_bytes / MIB:.0f} MiB")
    if trial.utilisation is not None:
        parts.append(f"the card was {trial.utilisation:.0%} busy")
    share = f"{trial.demand.gpus:g} of {_a_card(trial.card)}"
    return ", ".join([share, *parts]) if parts else ""


def _a_card(accelerator: str) -> str:
    return f"a {accelerator}" if accelerator else "a card"


def to_json(sweep: Sweep) -> list[dict[str, object]]:
    """The same for programs."""
    return [
        {
            "key": found.key,
            "accelerator": found.accelerator,
            "per_card": found.per_card,
            "peak_bytes": found.lesson.peak_bytes,
            "utilisation": found.utilisation,
            "out_of_memory_at": found.lesson.too_many,
            "best_per_card": found.best,
            "is_settled": found.is_settled,
            "rates": {str(k): list(v) for k, v in found.rates.items()},
        }
        for found in packed(sweep)
    ]

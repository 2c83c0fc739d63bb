"""The report of how the trials of a sweep share cards, and what was observed."""

from collections.abc import Iterator, Sequence
from typing import Any

from sweeper.journal.record import Sweep, TrialRecord
from sweeper.packing import packing
from sweeper.packing.observations import (
    Observations,
    best_per_card,
    steps_per_second,
)
from sweeper.system.text import MIB


def to_json(sweep: Sweep) -> list[dict[str, Any]]:
    """Return an entry for each pair of memory key and type of card.

    `per_card` is that of the newest start. `best_per_card` is the number of trials with
    the best throughput; 0 if no speed was measured. `is_settled` is true if more speeds
    would not change it. `utilisation` is None if not measured.
    """
    groups: dict[tuple[str, str], list[TrialRecord]] = {}
    for trial in sweep.trials:
        if trial.memory_key:
            groups.setdefault((trial.memory_key, trial.card), []).append(trial)
    return [_entry(trials) for trials in groups.values()]


def _entry(trials: Sequence[TrialRecord]) -> dict[str, Any]:
    newest = trials[-1]
    observations = Observations((newest.card,))
    observations.update(dict(enumerate(trials)))
    observed = observations.by_key[newest.memory_key]
    rates = observed.rates.get(newest.card, {})
    best, is_settled = best_per_card(rates, limit=max(rates)) if rates else (0, False)
    busy = [t.utilisation for t in trials if t.utilisation is not None]
    return {
        "key": newest.memory_key,
        "accelerator": newest.card,
        "per_card": packing.per_card(newest.demand.gpus),
        "peak_bytes": observed.peak_bytes,
        "utilisation": sum(busy) / len(busy) if busy else None,
        "out_of_memory_at": observed.too_many,
        "best_per_card": best,
        "is_settled": is_settled,
        "rates": {str(count): list(speeds) for count, speeds in rates.items()},
        "steps_per_second": steps_per_second(rates, best),
    }


def lines(sweep: Sweep) -> Iterator[str]:
    """Yield the entries of `to_json` as text."""
    for entry in to_json(sweep):
        card = _a_card(str(entry["accelerator"]))
        text = f"packing {entry['key']}: {entry['per_card']} {card}"
        if entry["peak_bytes"]:
            text += f", {_mib(entry['peak_bytes'])}"
        if entry["utilisation"] is not None:
            text += f", {entry['utilisation']:.0%} busy"
        if entry["out_of_memory_at"]:
            text += f", {entry['out_of_memory_at']} a card ran out of memory"
        if entry["steps_per_second"] is not None:
            word = "best" if entry["is_settled"] else "so far"
            speed = f"{entry['steps_per_second']:.3g} steps/s a card"
            text += f", {speed} with {entry['best_per_card']} ({word})"
        yield text


def measured(trial: TrialRecord) -> str:
    """Return a trial's use of its card as text; "" if nothing was measured."""
    parts = [_mib(trial.peak_bytes)] if trial.peak_bytes else []
    if trial.utilisation is not None:
        parts.append(f"the card was {trial.utilisation:.0%} busy")
    share = f"{trial.demand.gpus:g} of {_a_card(trial.card)}"
    return ", ".join([share, *parts]) if parts else ""


def _mib(peak_bytes: int) -> str:
    return f"peak {peak_bytes / MIB:.0f} MiB"


def _a_card(accelerator: str) -> str:
    return f"a {accelerator}" if accelerator else "a card"

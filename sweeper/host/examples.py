"""Which validation examples a trial got right: a small JSON file beside its metrics.

Written at each new best epoch by the trial, read for the leaderboard. It holds facts
only; what they say about a difference is for `intervals` and `ties`.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.host.paths import write_text

TOLERANCE = 1e-3  # the metric is a float32 mean; another metric is further away


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Correctness of each validation example at one epoch.

    Attributes:
        epoch: the epoch that was measured, 1-based.
        value: the objective of that epoch.
        correct: "1" or "0" for each example, in the order of the validation set.
        order: a digest of the labels in this order; equal for trials that saw the
            same examples, "" where no labels are known.
    """

    epoch: int
    value: float
    correct: str
    order: str = ""


def digest(labels: Sequence[object]) -> str:
    """Eight hex digits of a sequence of labels."""
    text = ",".join(map(str, labels))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def is_mean(value: float, correct: str) -> bool:
    """Whether `value` is the share of correct examples, and so about them."""
    return bool(correct) and abs(correct.count("1") / len(correct) - value) < TOLERANCE


def record(path: Path, found: Examples, *, mode: str) -> bool:
    """Write `found` where it is a new best; whether it was.

    An epoch that is measured again after a kill replaces what it wrote before. What
    is no share of correct examples (a loss, a mean over classes) is not written.
    """
    if not is_mean(found.value, found.correct):
        return False
    old = read(path)
    if old is not None and old.epoch < found.epoch:
        is_better = (
            found.value > old.value if mode == "max" else found.value < old.value
        )
        if not is_better:
            return False
    data = {
        "epoch": found.epoch,
        "value": found.value,
        "order": found.order,
        "correct": found.correct,
    }
    write_text(path, json.dumps(data) + "\n")
    return True


def read(path: Path) -> Examples | None:
    """What `record` wrote; None where nothing was, or something else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Examples(
            epoch=int(data["epoch"]),
            value=float(data["value"]),
            correct=str(data["correct"]),
            order=str(data["order"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None

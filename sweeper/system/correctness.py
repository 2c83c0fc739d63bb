"""Correctness of each validation example, in a JSON file beside a trial's metrics.

The trial writes it at each new best epoch; the leaderboard reads it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeper.system.paths import write_text

TOLERANCE = 1e-3  # the mean is a float32; other metrics differ by more


@dataclass(frozen=True, slots=True, kw_only=True)
class Correctness:
    """Correctness of each validation example at one epoch.

    Attributes:
        epoch: the epoch that was measured, 1-based.
        value: the objective of that epoch.
        correct: "1" or "0" for each example, in the order of the validation set.
        order: a digest of the labels in this order; equal for trials that saw the
            same examples, "" if no labels are known.
    """

    epoch: int
    value: float
    correct: str
    order: str = ""


def digest(labels: Sequence[object]) -> str:
    """Return a digest of a sequence of labels, in eight hex digits."""
    text = ",".join(map(str, labels))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def is_mean(value: float, correct: str) -> bool:
    """Return whether `value` is the share of correct examples."""
    return bool(correct) and abs(correct.count("1") / len(correct) - value) < TOLERANCE


def record(path: Path, measurement: Correctness, *, mode: str) -> bool:
    """Write a measurement if it is a new best; return whether it was written.

    A record of the same or a later epoch, from before a kill, is always replaced. A
    value that is not the share of correct examples (such as a loss) is not written.
    """
    if not is_mean(measurement.value, measurement.correct):
        return False
    old = read(path)
    if old is not None and old.epoch < measurement.epoch:
        gain = measurement.value - old.value
        if (gain if mode == "max" else -gain) <= 0:
            return False
    write_text(path, json.dumps(asdict(measurement)) + "\n")
    return True


def read(path: Path) -> Correctness | None:
    """Return the recorded measurement; None if the file is missing or damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Correctness(
            epoch=int(data["epoch"]),
            value=float(data["value"]),
            correct=str(data["correct"]),
            order=str(data["order"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None

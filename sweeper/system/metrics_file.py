"""The `metrics.jsonl` of a trial: the metrics of each epoch, over all attempts.

A line that a kill has cut off is ignored. If an epoch has two lines, the last counts.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from sweeper.system import disk


def append(path: Path, epoch: int, metrics: Mapping[str, float]) -> None:
    """Append the line of one epoch, whole or not at all."""
    disk.append(path, (json.dumps({**metrics, "epoch": epoch}) + "\n").encode())


def epochs(path: Path) -> dict[int, dict[str, float]]:
    """Return the metrics of each epoch, in order; {} if there is no file."""
    found: dict[int, dict[str, float]] = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
            found[int(row.pop("epoch"))] = row
        except (ValueError, LookupError, TypeError, AttributeError):
            continue  # torn or damaged
    return dict(sorted(found.items()))


def best(path: Path, *, metric: str, mode: str) -> tuple[int, float] | None:
    """Return the best epoch of all attempts and its value; None if none is finite."""
    values = {e: row[metric] for e, row in epochs(path).items() if metric in row}
    finite = {epoch: v for epoch, v in values.items() if math.isfinite(v)}
    if not finite:
        return None
    pick = max if mode == "max" else min
    epoch = pick(finite, key=lambda e: finite[e])
    return epoch, finite[epoch]

"""The `metrics.jsonl` of a trial: what every attempt has measured, epoch by epoch.

It outlives what a kill takes from other records; a line that a kill cut in half is no
line, and of two lines of one epoch the last one counts.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from sweeper.host import disk


def append(path: Path, epoch: int, metrics: Mapping[str, float]) -> None:
    """Append the line of one epoch, whole or not at all."""
    disk.append(path, (json.dumps({**metrics, "epoch": epoch}) + "\n").encode())


def epochs(path: Path) -> dict[int, dict[str, float]]:
    """What each epoch measured, in order of the epochs; {} without a file."""
    found: dict[int, dict[str, float]] = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
            found[int(row.pop("epoch"))] = row
        except (ValueError, LookupError, TypeError, AttributeError):
            continue  # torn, or what a disk made of it
    return dict(sorted(found.items()))


def best(path: Path, *, metric: str, mode: str) -> tuple[int, float] | None:
    """Epoch and value of the best epoch; None without a finite value.

    The file, and not this process, knows the epochs of earlier starts.
    """
    values = {e: row[metric] for e, row in epochs(path).items() if metric in row}
    finite = {epoch: v for epoch, v in values.items() if math.isfinite(v)}
    if not finite:
        return None
    pick = max if mode == "max" else min
    epoch = pick(finite, key=lambda e: finite[e])
    return epoch, finite[epoch]

"""How long the attempts that run now have taken, whether or not they report."""

from collections.abc import Callable, Mapping
from typing import Any

COUNT_SECONDS = 30.0  # a silent attempt is counted so often; a kill loses no more


class Stopwatch:
    """Measures the attempt of each slot from its start to its end.

    Args:
        clock: seconds; only differences count.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began: dict[str, float] = {}
        self._counted: dict[str, float] = {}

    def start(self, slot: str) -> None:
        """Begin a slot's attempt."""
        self._began[slot] = self._counted[slot] = self._clock()

    def count(self, slot: str) -> None:
        """Note that the attempt was counted up to now."""
        self._counted[slot] = self._clock()

    def silent(self) -> list[str]:
        """Return the slots whose attempt was not counted for a while."""
        latest = self._clock() - COUNT_SECONDS
        return [slot for slot, counted in self._counted.items() if counted <= latest]

    def stop(self, slot: str) -> None:
        """End a slot's attempt."""
        self._began.pop(slot, None)
        self._counted.pop(slot, None)

    def progress(self, slot: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a row keeps once the attempt is counted up to now.

        Args:
            row: the attributes of the trial's row.
        """
        known = row.get("progress", {})
        if slot not in self._began:  # it died before the trial started
            return {}
        busy = row.get("busy_before", 0.0) + self._clock() - self._began[slot]
        busy = max(busy, known.get("busy_seconds", 0.0))
        return {"progress": {**known, "busy_seconds": busy}}

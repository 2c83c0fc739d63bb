"""The time that running attempts have taken, whether or not they report."""

from collections.abc import Callable

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

    def runs(self, slot: str) -> bool:
        """Return whether a slot's attempt has begun."""
        return slot in self._began

    def seconds(self, slot: str) -> float:
        """Return how long a slot's attempt has taken."""
        return self._clock() - self._began[slot]

    def stop(self, slot: str) -> None:
        """End a slot's attempt."""
        del self._began[slot], self._counted[slot]

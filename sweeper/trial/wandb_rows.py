"""Which rows of a trial's history are new to its W&B run; pure.

A trial that goes on from its last epoch logs again what it had logged after it. Each
fragment of a run counts its steps from 0, unless it is told where to begin.
"""

from collections.abc import Iterable, Iterator, Mapping

STEP = "_step"
GLOBAL_STEP = "trainer/global_step"  # as Lightning's WandbLogger calls it
PART = "sweeper/part"  # of a target's second and later runs or fits: 1, 2, ...
AXES = (GLOBAL_STEP, "global_step", "epoch", "step")  # what a row may be placed by


class Rows:
    """The rows that a run holds: for each part, axis and key the furthest place.

    Args:
        rows: history of all earlier fragments.
    """

    def __init__(self, rows: Iterable[Mapping[str, object]] = ()) -> None:
        self._furthest: dict[tuple[object, str, str], float] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, object]) -> None:
        """Count a row as held."""
        part = row.get(PART, 0)
        for axis in (*AXES, STEP):
            place = row.get(axis)
            if isinstance(place, int | float):
                for key in _with_parents(row):
                    before = self._furthest.get((part, axis, key), place)
                    self._furthest[part, axis, key] = max(before, place)

    @property
    def next_step(self) -> int:
        """The first `_step` that no row has."""
        steps = [
            place
            for (_, axis, key), place in self._furthest.items()
            if axis == key == STEP
        ]
        return int(max(steps, default=-1)) + 1

    @property
    def keys(self) -> frozenset[str]:
        """Every key that some row has."""
        return frozenset(key for *_, key in self._furthest)

    def new(
        self, row: Mapping[str, object], *, step: int | None = None
    ) -> dict[str, object]:
        """The part of a row that is not held yet; {} where all of it is.

        Args:
            row: as a project logs it; a row that nothing places is new.
            step: the `_step` that the project asks for.

        >>> rows = Rows([{"epoch": 2, "loss": 0.5}])
        >>> rows.new({"epoch": 2, "loss": 0.5}), rows.new({"epoch": 3, "loss": 0.4})
        ({}, {'epoch': 3, 'loss': 0.4})
        >>> rows.new({"epoch": 2, "loss": 0.5, "acc": 0.9})
        {'epoch': 2, 'acc': 0.9}
        """
        axis = next((name for name in AXES if name in row), STEP)
        place = step if axis == STEP else row[axis]
        if not isinstance(place, int | float):
            return dict(row)
        part, labels = row.get(PART, 0), (*AXES, PART)
        fresh = {
            key: value
            for key, value in row.items()
            if key in labels or self._furthest.get((part, axis, key), -1) < place
        }
        return fresh if any(key not in labels for key in fresh) else {}


def _with_parents(row: Mapping[str, object]) -> Iterator[str]:
    """Keys as they were logged: the reader writes a picture as `name.width`, ..."""
    for key in row:
        parts = key.split(".")
        for end in range(1, len(parts) + 1):
            yield ".".join(parts[:end])

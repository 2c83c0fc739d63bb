"""What a trial says of one epoch, on its way from the training loop to the journal.

It measures and writes nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a training loop says of an epoch.

    Attributes:
        epoch: 1-based and absolute.
        metrics: scalars by name; {} where the epoch measured nothing.
        step: the Trainer's global step, as its loggers have it.
        correct: "1" or "0" for each validation example, "" where unknown.
        order: a digest of their labels.
        has_objectives: whether the objectives are among the metrics; a fit before the
            one that counts, such as pretraining, may not log them.
        is_mean: whether the first objective is the mean of what was logged per step.
        logged: names of what was logged, where an objective is missing.
    """

    epoch: int
    metrics: Mapping[str, float]
    step: int | None = None
    correct: str = ""
    order: str = ""
    has_objectives: bool = True
    is_mean: bool = False
    logged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the process of a trial says of an epoch.

    Attributes:
        epoch: 1-based and absolute; a second report of one epoch replaces the first.
        values: the objectives, in the file's order; () where they were not measured.
        metrics: every scalar that was logged.
        busy_seconds: age of the trial's process.
        usage: what it measured of its device: peak_bytes, utilisation (0 to 1), rate in
            steps a second.
        is_mean: see `Measured`.
    """

    epoch: int
    values: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    busy_seconds: float = 0.0
    usage: Mapping[str, float] = field(default_factory=dict)
    is_mean: bool = False

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back equal.

        >>> report = Report(epoch=1, values=(0.5,))
        >>> Report.from_json(report.to_json()) == report
        True
        """
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Report":
        """The report that `to_json` wrote."""
        data = json.loads(text)
        return Report(**{**data, "values": tuple(data["values"])})

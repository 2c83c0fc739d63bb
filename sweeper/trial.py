"""The words of the field as frozen values: what a trial and a sweep are.

It holds no behaviour that touches a file, a clock or a random generator.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sweeper.experiment.experiment import Experiment
from sweeper.experiment.sections import Objective
from sweeper.host.correctness import Correctness
from sweeper.host.paths import SweepPaths
from sweeper.host.seeds import derive as derive
from sweeper.lineage import Lineage
from sweeper.protocol import Decision as Decision
from sweeper.protocol import FailureKind as FailureKind
from sweeper.protocol import Params as Params
from sweeper.protocol import TrialSpec as TrialSpec
from sweeper.protocol import Value as Value


class State(StrEnum):
    """State of a trial; the names are Optuna's."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"  # stopped by the scheduler; its best value counts
    FAILED = "failed"  # retries used up

    @property
    def is_final(self) -> bool:
        """Whether the trial never runs again by itself."""
        return self in (State.COMPLETE, State.PRUNED, State.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed attempt.

    Attributes:
        kind: what ended it.
        message: one line, the exception's type first.
        step: epochs reported before it, 0 for none.
        traceback: digest of where it was raised, "" for none.
    """

    kind: FailureKind
    message: str
    step: int = 0
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One start of a trial's process.

    Attributes:
        slot: who ran it; slots of two drivers never share a name.
        busy_before: seconds that earlier attempts had trained by then.
        code: version of the project's code, "" where it is in no repository.
    """

    slot: str
    started_at: datetime
    busy_before: float = 0.0
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a trial asks of the cluster.

    Attributes:
        cpus: cores, may be a fraction.
        gpus: share of one device (1/n) or a whole number of devices.
        accelerator: Ray's accelerator type such as "T4"; "" for any.
    """

    cpus: float
    gpus: float = 0.0
    accelerator: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One suggestion with one seed, as the journal knows it.

    Attributes:
        number: position in the journal, 0-based.
        id: `trial_id(params, seed)`; folder name and start of the W&B run's id.
        values: first objective by epoch (1-based, absolute); NaN where any is not.
        others: the other objectives by epoch; {} with one objective.
        metrics: every logged scalar of the last reported epoch.
        correctness: of each validation example at its best epoch, None if unknown.
        memory_key: names all trials that take the same memory; "" without a GPU.
        card: type of the card of its newest start, "" without one.
        utilisation: share of time that the whole card computed, the mean over its
            reports; None where it was not measured.
        rates: steps a second, by type of card and trials on it.
        oom_shares: shares that were too small, by type of card.
        starts: how often a process was started for it.
        attempts: those starts, where the journal has their times.
        busy_seconds: time in trial processes over all starts.
        card_seconds: the same times the share of a card that each start had, by type
            of card; "" for a type that is not known.
        lineage: its place in a population, None outside of one.
        is_mean: whether its values are epoch means of what was logged per step.
    """

    number: int
    id: str
    params: Params
    seed: int
    state: State
    values: Mapping[int, float] = field(default_factory=dict)
    others: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    correctness: Correctness | None = None
    demand: Demand = field(default_factory=lambda: Demand(cpus=1.0))
    peak_bytes: int = 0
    memory_key: str = ""
    card: str = ""
    utilisation: float | None = None
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    oom_shares: Mapping[str, Sequence[float]] = field(default_factory=dict)
    starts: int = 0
    attempts: tuple[Attempt, ...] = ()
    failures: tuple[Failure, ...] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None
    busy_seconds: float = 0.0
    card_seconds: Mapping[str, float] = field(default_factory=dict)
    lineage: Lineage | None = None
    is_mean: bool = False

    def best(self, objective: Objective) -> tuple[int, float] | None:
        """Epoch and value of the best report; None before the first finite one.

        The earliest of equal values wins.
        """
        finite = {epoch: v for epoch, v in self.values.items() if math.isfinite(v)}
        if not finite:
            return None
        sign = -1 if objective.mode == "max" else 1
        return min(finite.items(), key=lambda item: (sign * item[1], item[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The snapshot that every view takes.

    Attributes:
        trials: in order of their number.
        hidden: trials whose point or seed is no longer in the file.
        uid: tells it from every other sweep; "" before its first start.
        is_running: whether a driver holds the sweep now.
    """

    experiment: Experiment
    trials: tuple[TrialRecord, ...]
    folder: Path
    hidden: tuple[TrialRecord, ...] = ()
    uid: str = ""
    is_running: bool = False

    @property
    def paths(self) -> SweepPaths:
        """The files of the sweep."""
        return SweepPaths(self.folder)


def canonical(value: object) -> str:
    """JSON in which equal values have one text: sorted keys, 1.0 as 1.

    >>> canonical({"b": 1.0, "a": 1e-3}) == canonical({"a": 0.001, "b": 1})
    True
    """

    def plain(node: object) -> object:
        if isinstance(node, Mapping):
            return {str(key): plain(child) for key, child in node.items()}
        if isinstance(node, list | tuple):
            return [plain(child) for child in node]
        is_whole = isinstance(node, float) and node.is_integer() and abs(node) < 2**53
        return int(node) if isinstance(node, float) and is_whole else node

    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"))


def trial_id(params: Params, *, seed: int, parent: str = "") -> str:
    """Ten hex digits that name a suggestion with a seed, on any machine.

    Args:
        parent: id of the trial whose checkpoint it starts from, "" for none.

    >>> trial_id({"lr": 0.001}, seed=42) == trial_id({"lr": 1e-3}, seed=42)
    True
    >>> trial_id({"lr": 0.001}, seed=42) == trial_id({"lr": 0.001}, seed=43)
    False
    """
    content = {"params": params, "seed": seed}
    text = canonical({**content, "parent": parent} if parent else content)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def point_id(params: Params, place: Lineage | None) -> str:
    """Names a suggestion whatever its seed; a child of a population by its parent."""
    return trial_id(params, seed=0, parent="" if place is None else place.parent)

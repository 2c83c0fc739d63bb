"""Trials and sweeps as frozen values.

It holds no behaviour that touches a file, a clock or a random generator.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sweeper.experiment.definition import Experiment, Objective
from sweeper.protocol import FailureKind, Lineage, Params, parent_of
from sweeper.system.correctness import Correctness
from sweeper.system.identity import trial_id
from sweeper.system.paths import SweepPaths


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
        kind: of its end.
        message: one line, the exception's type first.
        step: epochs reported before it.
        traceback: digest of where it was raised; "" if there is none.
    """

    kind: FailureKind
    message: str
    step: int = 0
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The share of the cluster that a trial asks for.

    Attributes:
        cpus: cores, may be a fraction.
        gpus: share of one device (1/n) or a whole number of devices.
        accelerator: Ray's accelerator type such as "T4"; "" for any.
    """

    cpus: float
    gpus: float = 0.0
    accelerator: str = ""


class Cause(StrEnum):
    """The end of an attempt."""

    FINISHED = "finished"  # its target returned, with a value
    STOPPED = "stopped"  # by the scheduler
    PAUSED = "paused"  # the sweep was stopping
    FAILED = "failed"  # the attempt's failure has the reason
    KILLED = "killed"  # its driver died


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of a trial in a process of its own.

    The journal writes it when the process starts, its seconds with each report, and
    its end when the slot or the next driver reports it.

    Attributes:
        slot: the worker that ran it; slots of two drivers never share a name. "" for
            an attempt that ended before its process was started.
        started_at: UTC.
        demand: of its process.
        card: type of its card; "" without one, or if it is not known.
        code: version of the project's code, "" if it is in no repository.
        busy_seconds: age of its process at its end, or at its newest report.
        ended_at: UTC; None while it runs, and if its driver was killed.
        cause: None while it runs.
        failure: the reason, with `Cause.FAILED` only.
    """

    slot: str
    started_at: datetime
    demand: Demand = Demand(cpus=1.0)
    card: str = ""
    code: str = ""
    busy_seconds: float = 0.0
    ended_at: datetime | None = None
    cause: Cause | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One point with one seed, as the journal has it.

    The journal is the only writer. It writes the first group of fields when the search
    suggests the point, the second with each report, the third when an attempt starts or
    ends. A trial that is put back in the queue gets a new record, which keeps what it
    reported and its attempts.

    Attributes:
        number: position in the journal, 0-based.
        id: `trial_id(params, seed)`; folder name and start of the W&B run's id.
        params: values of the parameters, by name.
        seed: of all random streams of the trial.
        point: name of the point, whatever its seed.
        lineage: its origin in a population; None outside of one.
        notes: what Optuna's samplers and pruners keep with a trial.

        values: first objective by epoch (1-based, absolute); NaN where any is not.
        others: the other objectives by epoch; {} with one objective.
        metrics: every logged scalar of the last reported epoch.
        is_mean: whether its values are epoch means of what was logged per step.
        peak_bytes: most memory that torch's allocator held; 0 if not measured.
        utilisation: share of time that the whole card computed, the mean over
            `readings` reports; None if it was not measured.
        rates: steps a second, by type of card and number of trials on it.
        stopped_at: epoch after which the scheduler stopped it.
        correctness: of each validation example at its best epoch. It is in the trial's
            folder; a reader of the sweep adds it.

        state: as the scheduler and the queue have left it.
        result: final value of each objective; () before the end.
        attempts: all of its runs, the oldest first.
        retried_after: attempts that do not count, since `sweeper retry`, a longer
            training or a promotion has put the trial back in the queue after them.
        epochs: length of the training that the newest attempt was asked for, by key.
        memory_key: equal for all trials that take the same memory; "" without a GPU.
        cores: that its first attempt had; threads and loader workers follow from them
            and are a part of bit-equality.
        is_shrunk: whether it runs with half its batch, after running out of memory.
        is_infeasible: whether not even a whole card had the memory.
        started_at: local time of the newest start.
        ended_at: local time of its end.
    """

    number: int
    id: str
    params: Params
    seed: int
    point: str = ""
    lineage: Lineage | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)  # JSON

    values: Mapping[int, float] = field(default_factory=dict)
    others: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    is_mean: bool = False
    peak_bytes: int = 0
    utilisation: float | None = None
    readings: int = 0
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    stopped_at: int | None = None
    correctness: Correctness | None = None

    state: State
    result: tuple[float, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    retried_after: int = 0
    epochs: Mapping[str, int] = field(default_factory=dict)
    memory_key: str = ""
    cores: float | None = None
    is_shrunk: bool = False
    is_infeasible: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @staticmethod
    def new(
        params: Params, *, seed: int, lineage: Lineage | None = None
    ) -> "TrialRecord":
        """Return the record of a trial that the journal does not have yet."""
        parent = parent_of(lineage)
        return TrialRecord(
            number=-1,
            id=trial_id(params, seed=seed, parent=parent),
            params=params,
            seed=seed,
            point=trial_id(params, seed=0, parent=parent),
            lineage=lineage,
            state=State.WAITING,
        )

    @property
    def last_epoch(self) -> int:
        """The newest epoch with a value; 0 before the first."""
        return max(self.values, default=0)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The failures that count against `retry`, the oldest first."""
        counted = self.attempts[self.retried_after :]
        return tuple(a.failure for a in counted if a.failure is not None)

    @property
    def starts(self) -> int:
        """Number of processes that were started for it."""
        return sum(bool(attempt.slot) for attempt in self.attempts)

    @property
    def demand(self) -> Demand:
        """The demand of its newest process."""
        return self._newest.demand if self._newest else Demand(cpus=1.0)

    @property
    def card(self) -> str:
        """Type of the card of its newest process; "" without one."""
        return self._newest.card if self._newest else ""

    @property
    def _newest(self) -> Attempt | None:
        return next((a for a in reversed(self.attempts) if a.slot), None)

    @property
    def busy_seconds(self) -> float:
        """Time in trial processes over all attempts."""
        return sum(attempt.busy_seconds for attempt in self.attempts)

    @property
    def card_seconds(self) -> Mapping[str, float]:
        """The same times the share of a card, by type of card; "" for unknown."""
        seconds: dict[str, float] = {}
        for attempt in self.attempts:
            share = attempt.busy_seconds * attempt.demand.gpus
            if share:
                seconds[attempt.card] = seconds.get(attempt.card, 0.0) + share
        return seconds

    @property
    def oom_shares(self) -> Mapping[str, Sequence[float]]:
        """Shares of a card that were too small, by type of card."""
        shares: dict[str, list[float]] = {}
        for attempt in self.attempts[self.retried_after :]:
            failure, gpus = attempt.failure, attempt.demand.gpus
            if failure and failure.kind is FailureKind.OOM and 0 < gpus <= 1:
                shares.setdefault(attempt.card, []).append(gpus)
        return shares

    def best(self, objective: Objective) -> tuple[int, float] | None:
        """Return epoch and value of the best report; None before a finite one.

        The earliest of equal values wins.
        """
        finite = {epoch: v for epoch, v in self.values.items() if math.isfinite(v)}
        if not finite:
            return None
        return min(finite.items(), key=lambda item: (objective.loss(item[1]), item[0]))


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


class StopReason(StrEnum):
    """The reason why a driver starts nothing more before the sweep is finished."""

    NONE = "none"
    INTERRUPTED = "interrupted"
    BUDGET = "budget"
    ERROR = "error"  # one that every trial would meet
    FAILING = "failing"  # trial after trial failed in the same way


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The end of a driver's starts; its reason is NONE while it starts trials."""

    reason: StopReason = StopReason.NONE
    message: str = ""

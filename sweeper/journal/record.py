"""Trials and sweeps as frozen values."""

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
        """Whether the trial runs again only if something puts it back in the queue."""
        return self in (State.COMPLETE, State.PRUNED, State.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed attempt.

    Attributes:
        kind: of its end.
        message: one line, the exception's type first.
        step: epochs reported before it.
        traceback: digest of the lines that raised it; "" if there is none.
    """

    kind: FailureKind
    message: str
    step: int = 0
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The share of the cluster that a trial asks for.

    Attributes:
        cpus: cores; may be a fraction.
        gpus: share of one device (1/n) or a whole number of devices.
        accelerator: Ray's accelerator type such as "T4"; "" for any.
    """

    cpus: float
    gpus: float = 0.0
    accelerator: str = ""


class Cause(StrEnum):
    """Cause of the end of an attempt."""

    FINISHED = "finished"  # its target returned and had reported a value
    STOPPED = "stopped"  # by the scheduler
    PAUSED = "paused"  # the sweep was stopping
    FAILED = "failed"  # see the attempt's failure
    KILLED = "killed"  # its driver died


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of a trial in a process of its own.

    The journal writes it at the start of the process, its seconds with each report, and
    its end when the slot or the next driver reports it.

    Attributes:
        slot: unique name of the worker that ran it; "" if the attempt ended before its
            process started.
        started_at: UTC.
        demand: of its process.
        card: type of its card; "" if it has none or the type is unknown.
        code: version of the project's code; "" if it is in no repository.
        busy_seconds: age of its process at its end, or when last counted.
        ended_at: UTC; None while it runs, or if its driver was killed.
        cause: None while it runs.
        failure: set with `Cause.FAILED` only.
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
    """One point with one seed, as the journal stores it.

    The journal is the only writer. It writes the first group of fields when the search
    suggests the point, the second with each report, the third when an attempt starts or
    ends. A trial that is put back in the queue gets a new record, which keeps what it
    reported and its attempts.

    Attributes:
        number: position in the journal, 0-based.
        id: from `trial_id`; folder name and start of the W&B run's id.
        params: values of the parameters, by name.
        seed: of all random streams of the trial.
        point: name of the point, equal for all of its seeds.
        lineage: its origin in a population; None outside of one.
        notes: state that Optuna's samplers and pruners keep with a trial.

        values: first objective by epoch (1-based, absolute); NaN if any objective is
            not finite.
        others: the other objectives by epoch; {} with one objective.
        metrics: every logged scalar of the last reported epoch.
        is_mean: whether its values are epoch means of values logged per step.
        peak_bytes: most memory that torch's allocator held; 0 if not measured.
        utilisation: share of time in which the card computed, as the mean over
            `readings` reports; None if not measured.
        rates: steps a second, by type of card and number of trials on it.
        stopped_at: epoch after which the scheduler stopped it.
        correctness: of each validation example at its best epoch. A reader of the
            sweep adds it from the trial's folder.

        state: current state.
        result: final value of each objective; () before the end.
        attempts: all of its runs, oldest first.
        retried_after: number of attempts before `sweeper retry`, a longer training or a
            promotion put it back in the queue; their failures do not count.
        epochs: configured epochs of the newest attempt, by key.
        memory_key: equal for trials that take equal memory; "" without a GPU.
        cores: cores of its first attempt; they determine threads and loader workers, a
            part of bit-equality.
        is_shrunk: whether it runs with half its batch after it ran out of memory.
        is_infeasible: whether a whole card has too little memory for it.
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
        """Newest epoch with a value; 0 before the first."""
        return max(self.values, default=0)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Failures that count against `retry`, oldest first."""
        counted = self.attempts[self.retried_after :]
        return tuple(a.failure for a in counted if a.failure is not None)

    @property
    def starts(self) -> int:
        """Number of its started processes."""
        return sum(bool(attempt.slot) for attempt in self.attempts)

    @property
    def demand(self) -> Demand:
        """Demand of its newest process."""
        return self._newest.demand if self._newest else Demand(cpus=1.0)

    @property
    def card(self) -> str:
        """Type of the card of its newest process; "" if there is none."""
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
        """`busy_seconds` times the share of a card, by type of card; "" for unknown."""
        seconds: dict[str, float] = {}
        for attempt in self.attempts:
            share = attempt.busy_seconds * attempt.demand.gpus
            if share:
                seconds[attempt.card] = seconds.get(attempt.card, 0.0) + share
        return seconds

    @property
    def oom_shares(self) -> Mapping[str, Sequence[float]]:
        """Shares at which it ran out of memory, by type of card."""
        shares: dict[str, list[float]] = {}
        for attempt in self.attempts[self.retried_after :]:
            failure, gpus = attempt.failure, attempt.demand.gpus
            if failure and failure.kind is FailureKind.OOM and 0 < gpus <= 1:
                shares.setdefault(attempt.card, []).append(gpus)
        return shares

    def best(self, objective: Objective) -> tuple[int, float] | None:
        """Return epoch and value of the best report; None if no value is finite.

        Among equal values the earliest wins.
        """
        finite = {epoch: v for epoch, v in self.values.items() if math.isfinite(v)}
        if not finite:
            return None
        return min(finite.items(), key=lambda item: (objective.loss(item[1]), item[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A snapshot of a sweep, the input of every view.

    Attributes:
        trials: in order of their number.
        hidden: trials whose point or seed is no longer in the file.
        uid: unique id of the sweep; "" before its first start.
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
        """Paths of the sweep's files."""
        return SweepPaths(self.folder)


class StopReason(StrEnum):
    """Reason for which a driver starts no more trials of an unfinished sweep."""

    NONE = "none"
    INTERRUPTED = "interrupted"
    BUDGET = "budget"
    ERROR = "error"  # one that every trial would meet
    FAILING = "failing"  # trial after trial failed in the same way


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Reason and message of an early stop; the reason is NONE if there is no stop."""

    reason: StopReason = StopReason.NONE
    message: str = ""

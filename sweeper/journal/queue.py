"""The queue of trials, and the slots that run them.

The queue creates the records of the next trials and fails trials that cannot fit. The
journal handles the end of a running trial.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sweeper.experiment.definition import Experiment
from sweeper.experiment.space import Space
from sweeper.journal.record import Attempt, Cause, Demand, Failure, State, TrialRecord
from sweeper.journal.run_context import RunContext
from sweeper.journal.study import TrialStore, again
from sweeper.packing import memory, packing
from sweeper.packing.observations import (
    NOTHING,
    Observations,
    Observed,
    best_per_card,
)
from sweeper.packing.packing import OomAction
from sweeper.protocol import FailureKind
from sweeper.search.next_trial import Agenda
from sweeper.search.policy import Search
from sweeper.search.schedulers import Action, Create, Resume, Scheduler
from sweeper.system.errors import DemandError

AHEAD = 2  # records that wait for each slot, if shares may differ


@dataclass(slots=True)
class Slot:
    """The trial of a slot.

    Attributes:
        trial: id of the trial.
        demand: of the trial when it was claimed.
        began: clock at the start of its process; None before.
        counted: clock when its time was last written.
    """

    trial: str
    demand: Demand
    began: float | None = None
    counted: float = 0.0


class Assignment:
    """The demands of a sweep's trials in one start.

    Args:
        context: has the default demand, the predicted peaks and the cards.
    """

    def __init__(
        self, experiment: Experiment, space: Space, context: RunContext
    ) -> None:
        self._experiment = experiment
        self._space = space
        self._context = context
        self._keys: dict[str, str] = {}

    @property
    def is_mixed(self) -> bool:
        """Whether trials may have different shares of a card."""
        return 0 < self._context.demand.gpus <= 1

    def key(self, record: TrialRecord) -> str:
        """Return the memory key of a trial."""
        if record.id not in self._keys:
            key = memory.memory_key(record.params, space=self._space)
            self._keys[record.id] = key
        return self._keys[record.id]

    def demand(self, key: str, observations: Mapping[str, Observed]) -> Demand:
        """Return the demand of a memory key's trials, from the observations so far."""
        context, default = self._context, self._context.demand
        if not self.is_mixed:
            return default
        observed = observations.get(key, NOTHING)
        limit = self._limit(key, observed)
        count = limit
        if observed.too_many:  # twice the share each
            count = min(count, max(1, observed.too_many // 2))
        if context.is_auto and observed.rates:
            best = (best_per_card(r, limit=count) for r in observed.rates.values())
            count = min(number for number, _ in best)
        if count == limit and not context.is_auto:
            return default
        gpus, cpus = packing.share(count), default.cpus
        if context.node_gpus and self._experiment.resources.cpus == "auto":
            cpus = packing.cpus(
                gpus, node_cpus=context.node_cpus, node_gpus=context.node_gpus
            )
        return Demand(cpus=cpus, gpus=gpus, accelerator=default.accelerator)

    def _limit(self, key: str, observed: Observed) -> int:
        """Return the number of trials per card that memory allows; 1 if unknown."""
        context = self._context
        if not context.is_auto:
            return packing.per_card(context.demand.gpus)
        peak = observed.peak_bytes or context.peaks.get(key, 0)
        if not peak or not context.device_bytes:
            return 1
        try:
            return packing.slots(
                peak,
                device_bytes=context.device_bytes,
                max_per_gpu=min(
                    self._experiment.resources.max_per_gpu,
                    packing.spread(context.trials, cards=context.cards),
                ),
            )
        except DemandError:
            return 1  # try it alone, since a prediction may be wrong

    def next(
        self, waiting: Sequence[TrialRecord], *, observations: Mapping[str, Observed]
    ) -> TrialRecord | None:
        """Return the waiting trial that starts first; None if none waits.

        Trials that ran before come first, then large shares, which need a nearly empty
        card, then low numbers.
        """
        keys = {self.key(record) for record in waiting}
        demands = {key: self.demand(key, observations) for key in keys}

        def order(record: TrialRecord) -> tuple[bool, float, int]:
            demand = demands[self.key(record)]
            return (not record.starts, -demand.gpus, record.number)

        return min(waiting, key=order, default=None)

    def oom_action(
        self, record: TrialRecord, failure: Failure, demand: Demand
    ) -> OomAction | None:
        """Return the action after an out-of-memory failure; None for any other."""
        is_oom = failure.kind is FailureKind.OOM
        if not is_oom or not self.is_mixed or not demand.gpus:
            return None
        return OomAction.after(
            packing.per_card(demand.gpus),
            is_shrunk=record.is_shrunk,
            may_shrink=self._experiment.oom.shrink_batch
            and self._context.batch.is_complete,
        )


def measured(
    record: TrialRecord, usage: Mapping[str, float], *, is_full: bool
) -> dict[str, Any]:
    """Return the fields of a record that change with a measurement.

    Args:
        usage: peak_bytes, utilisation, and rate in steps a second, if measured.
        is_full: whether every share of the cards was taken; only then the rate counts.
    """
    changed: dict[str, Any] = {
        "peak_bytes": max(record.peak_bytes, int(usage.get("peak_bytes", 0)))
    }
    if "utilisation" in usage:
        total = (record.utilisation or 0.0) * record.readings + usage["utilisation"]
        readings = record.readings + 1
        changed |= {"utilisation": total / readings, "readings": readings}
    demand, card = record.demand, record.card
    if is_full and usage.get("rate") and demand.gpus:
        count = str(packing.per_card(demand.gpus))
        of_card = {**record.rates.get(card, {}), count: usage["rate"]}
        changed["rates"] = {**record.rates, card: of_card}
    return changed


class TrialQueue:
    """Assigns trials to slots.

    Args:
        search: the search algorithm.
        scheduler: stops trials, and may resume them or create children.
        warm: trials of another sweep to learn from.
    """

    def __init__(
        self,
        experiment: Experiment,
        space: Space,
        context: RunContext,
        *,
        store: TrialStore,
        search: Search,
        scheduler: Scheduler,
        warm: Sequence[TrialRecord] = (),
    ) -> None:
        self._experiment = experiment
        self._space = space
        self._context = context
        self._store = store
        self._search = search
        self._agenda = Agenda(experiment, space, search, scheduler=scheduler, warm=warm)
        self.slots: dict[str, Slot] = {}
        self._is_exhausted = False
        self._changed = store.follow()
        self._observations = Observations(context.accelerators)
        self.assignment = Assignment(experiment, space, context)

    # ---- slots

    def trial(self, slot: str) -> TrialRecord:
        """Return the record of a slot's trial."""
        return self._store.get(self.slots[slot].trial)

    def claim(self, slot: str, demand: Demand | None) -> Demand | None:
        """Give the next trial to a slot and return its demand; None if there is none.

        Args:
            slot: name of the slot.
            demand: only a trial with this demand; None for any.
        """
        record = self._next()
        if record is None:
            return None
        claimed = Slot(record.id, self._demand(record))
        if demand not in (None, claimed.demand):
            return None
        self.slots[slot] = claimed
        return claimed.demand

    def offer(self) -> Demand | None:
        """Return the demand of the next trial; create its record if none waits."""
        record = self._next()
        return None if record is None else self._demand(record)

    @property
    def is_finished(self) -> bool:
        """Whether no trial runs, waits or will be created."""
        if self.slots or self._store.waiting():
            return False
        return self._is_exhausted or self._spent(self._agenda.next(self._store.shown()))

    # ---- the next trial

    def _demand(self, record: TrialRecord) -> Demand:
        return self.assignment.demand(
            self.assignment.key(record), self.observations().by_key
        )

    def _waiting(self) -> Iterator[TrialRecord]:
        held = {slot.trial for slot in self.slots.values()}
        return (record for record in self._store.waiting() if record.id not in held)

    def _next(self) -> TrialRecord | None:
        if not self.assignment.is_mixed:
            return next(self._waiting(), None) or self._create_next()
        while True:
            self._create_ahead()
            observations = self.observations()
            record = self.assignment.next(
                [*self._waiting()], observations=observations.by_key
            )
            record = record or self._create_next()
            if record is None or not observations.is_infeasible(
                self.assignment.key(record)
            ):
                return record
            self._give_up(record)

    def _give_up(self, record: TrialRecord) -> None:
        """Fail a trial that would run out of memory, without starting it."""
        failure = Failure(
            kind=FailureKind.OOM,
            message="not started: a trial of this batch or a smaller one ran out of "
            "a whole card's memory",
        )
        attempt = unstarted(failure, code=self._context.code)
        self._store.put(
            replace(
                record,
                attempts=(*record.attempts, attempt),
                is_infeasible=True,
                state=State.FAILED,
            )
        )

    def _create_ahead(self) -> None:
        """Create the records of a grid's next points, so that large shares go first."""
        if not self._search.is_grid:
            return
        for _ in range(len(self._store.waiting()), AHEAD * self._context.slots):
            if self._create_next() is None:
                return

    def _create_next(self) -> TrialRecord | None:
        """Write the record of the next trial of the search or scheduler."""
        if self._is_exhausted:
            return None
        action = self._agenda.next(self._store.shown())
        if isinstance(action, Resume):
            return self._store.add(again(action.record))
        self._is_exhausted = self._spent(action)
        if self._is_exhausted or not isinstance(action, Create):
            return None
        record = action.record
        distributions = self._space.distributions_of(record.params)
        return self._store.add(record, distributions)

    def _spent(self, action: Action) -> bool:
        """Return whether nothing is left to create or the budget of trials is used."""
        limit = self._experiment.budget.trials
        if action is None:
            return True
        if not isinstance(action, Create) or limit is None:
            return False
        hidden = self._store.hidden  # a hidden trial counts if it ever started
        records = self._store.all()
        unstarted = sum(not self._store.get(identity).attempts for identity in hidden)
        return len(records) - unstarted >= limit

    # ---- memory and speed of trials on cards

    def is_full(self, slot: str) -> bool:
        """Return whether the cluster is full of trials with a slot's demand.

        Only then can the speeds of different numbers of trials per card be compared.
        """
        demand = self.slots[slot].demand
        cards = max(1, round(self._context.cards))
        alike = sum(other.demand == demand for other in self.slots.values())
        return bool(demand.gpus) and alike >= cards * packing.per_card(demand.gpus)

    def started(self, record: TrialRecord, demand: Demand) -> dict[str, Any]:
        """Return the fields of a record that change at a start with a GPU."""
        if not demand.gpus:
            return {}
        key = self.assignment.key(record)
        observed = self.observations().by_key.get(key, NOTHING)
        return {
            "memory_key": key,
            "cores": demand.cpus if record.cores is None else record.cores,
            "is_shrunk": record.is_shrunk or observed.is_shrunk,
        }

    def observations(self) -> Observations:
        """Return the memory and speed of each key, from the current records."""
        self._observations.update(self._changed())
        return self._observations


def unstarted(failure: Failure, *, code: str) -> Attempt:
    """Return an attempt that failed before its process started."""
    now = datetime.now(UTC)
    return Attempt(
        slot="",
        started_at=now,
        ended_at=now,
        code=code,
        cause=Cause.FAILED,
        failure=failure,
    )

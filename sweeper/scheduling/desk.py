"""Which slot holds which trial, and which trial a slot gets next.

It creates rows for trials that the sweep owes and fails those that cannot fit; what
becomes of a trial that runs is the journal's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sweeper.cards import packing
from sweeper.cards.ladder import Rung
from sweeper.cards.lessons import Lesson, Lessons
from sweeper.experiment.experiment import Experiment
from sweeper.experiment.space import Space
from sweeper.scheduling.assignment import Assignment
from sweeper.scheduling.launch import Launch
from sweeper.search import agenda
from sweeper.search.backlog import Backlog
from sweeper.search.policy import Search
from sweeper.storage import attributes
from sweeper.storage.rows import Rows
from sweeper.trial import Demand, Failure, FailureKind

AHEAD = 2  # rows created before they run, for each slot, where shares differ


class Desk:
    """Hands trials to slots.

    Args:
        search: the algorithm; a grid's rows may be created before they run.
        scheduler: what ends trials, and may have them go on or have children.
        warm: trials of another sweep to learn from.
    """

    def __init__(
        self,
        experiment: Experiment,
        space: Space,
        launch: Launch,
        *,
        rows: Rows,
        search: Search,
        scheduler: object,
        warm: Sequence[FrozenTrial] = (),
    ) -> None:
        self._launch = launch
        self._rows = rows
        self._search = search
        self._backlog = Backlog(
            experiment, space, search, scheduler=scheduler, warm=warm
        )
        self._slots: dict[str, tuple[str, Demand]] = {}
        self._limit = experiment.budget.trials
        self._is_exhausted = False
        self._changed = rows.follow()
        self._lessons = Lessons(launch.accelerators)
        self.assignment = Assignment(experiment, space, launch)

    @property
    def is_empty(self) -> bool:
        """Whether no slot holds a trial."""
        return not self._slots

    def held(self) -> set[str]:
        """Ids of the trials that slots hold."""
        return {identity for identity, _ in self._slots.values()}

    def holds(self, slot: str) -> bool:
        """Whether a slot has a trial."""
        return slot in self._slots

    def trial(self, slot: str) -> str:
        """Id of a slot's trial."""
        return self._slots[slot][0]

    def demand(self, slot: str) -> Demand:
        """What a slot's trial asked for when it was claimed."""
        return self._slots[slot][1]

    def release(self, slot: str) -> str:
        """Take the trial from a slot; its id."""
        return self._slots.pop(slot)[0]

    def claim(self, slot: str, demand: Demand | None) -> Demand | None:
        """Give the next trial to a slot, if it asks for `demand`; None for any."""
        found = self._next()
        if found is None:
            return None
        asked = self.assignment.demand(self.assignment.key(found), self.lessons())
        if demand is not None and demand != asked:
            return None
        self._slots[slot] = (found.user_attrs["id"], asked)
        return asked

    def peek(self) -> Demand | None:
        """What the next trial asks for; None for none."""
        found = self._next()
        if found is None:
            return None
        return self.assignment.demand(self.assignment.key(found), self.lessons())

    def is_full(self, slot: str) -> bool:
        """Whether as many trials ask for the same as the cluster holds of them.

        Only then do the speeds of trials say what their number is worth.
        """
        asked = self.demand(slot)
        cards = max(1, round(self._launch.cards))
        alike = sum(demand == asked for _, demand in self._slots.values())
        return bool(asked.gpus) and alike >= cards * packing.per_card(asked.gpus)

    def _is_shrunk(self, row: FrozenTrial) -> bool:
        """Whether a trial runs with half its batch: even a whole card was too small."""
        lesson = self.lessons().get(self.assignment.key(row))
        return bool(row.user_attrs.get("is_shrunk") or (lesson and lesson.is_shrunk))

    def learn(
        self, slot: str, row: FrozenTrial, usage: Mapping[str, float]
    ) -> dict[str, Any]:  # JSON
        """What a row keeps of what its trial's process measured."""
        return self.assignment.progress(
            row.user_attrs.get("progress", {}),
            usage,
            demand=self.demand(slot),
            card=row.user_attrs.get("card", ""),
            is_full=self.is_full(slot),
        )

    def known(
        self, row: FrozenTrial, demand: Demand, *, card: str
    ) -> dict[str, Any]:  # JSON
        """What a row keeps at a start with a GPU: what later decisions are made of."""
        if not demand.gpus:
            return {}
        shrunk = {"is_shrunk": True} if self._is_shrunk(row) else {}
        return {
            "memory_key": self.assignment.key(row),
            "card": card or demand.accelerator,
            "card_seconds_before": attributes.card_seconds(row),
            "cores": row.user_attrs.get("cores", demand.cpus),
            **shrunk,
        }

    def rung(self, row: FrozenTrial, failure: Failure, demand: Demand) -> Rung | None:
        """What follows a failure that is a matter of shares; None for any other."""
        is_oom = failure.kind is FailureKind.OOM
        if not is_oom or not self.assignment.is_laddered(demand):
            return None
        return self.assignment.rung(row, demand)

    def lesson(
        self, row: FrozenTrial, rung: Rung, demand: Demand
    ) -> dict[str, Any]:  # JSON
        """What a row keeps of having run out of memory."""
        flags = {Rung.SHRINK: "is_shrunk", Rung.INFEASIBLE: "is_infeasible"}
        flag = {flags[rung]: True} if rung in flags else {}
        shares, card = row.user_attrs.get("oom_shares", {}), row.user_attrs["card"]
        of_card = [*shares.get(card, ()), demand.gpus]
        return {"oom_shares": {**shares, card: of_card}, **flag}

    def lessons(self) -> Mapping[str, Lesson]:
        """What the rows have taught so far."""
        changed = self._changed()
        self._lessons.look({place: row.user_attrs for place, row in changed.items()})
        return self._lessons.all()

    def _next(self) -> FrozenTrial | None:
        if not self.assignment.is_mixed:
            waits = self._rows.waiting(but=self.held()) or self._create_next()
            return None if waits is None else self._rows.get(waits)
        while True:
            self._create_ahead()
            found = self.assignment.next(
                self._rows.queue(but=self.held()), lessons=self.lessons()
            )
            if found is None:
                identity = self._create_next()
                if identity is None:
                    return None
                found = self._rows.get(identity)
            if not self.assignment.is_hopeless(found, self.lessons()):
                return found
            self._give_up(found)

    def _give_up(self, row: FrozenTrial) -> None:
        """Fail a trial that would only run out of memory, without starting it."""
        identity = row.user_attrs["id"]
        failure = Failure(
            kind=FailureKind.OOM,
            message="not started: a trial of this batch or a smaller one ran out of "
            "a whole card's memory",
        )
        stored = [*row.user_attrs.get("failures", ()), asdict(failure)]
        self._rows.note(identity, failures=stored, is_infeasible=True)
        self._rows.move(identity, TrialState.FAIL)

    def _create_ahead(self) -> None:
        """Create the rows that a grid owes soon, so that large shares can go first."""
        if not self._search.is_grid:
            return
        waiting = self._rows.num_waiting
        for _ in range(waiting, AHEAD * self._launch.slots):
            if self._create_next() is None:
                return

    def _create_next(self) -> str | None:
        """Write the row of the next trial that the sweep owes; its id."""
        if self._is_exhausted:
            return None
        owed = self._backlog.next(self._rows.listed())
        if isinstance(owed, agenda.Again):
            self._rows.put_again(owed.row)
            identity: str = owed.row.user_attrs["id"]
            return identity
        is_spent = self._limit is not None and self._rows.num_spent() >= self._limit
        if isinstance(owed, agenda.Owed) and not is_spent:
            return self._rows.create(owed)
        self._is_exhausted = owed is None or isinstance(owed, agenda.Owed)
        return None

"""The rows of a study: one a trial, written record by record.

It decides nothing; `journal` does. Every method is on disk before it returns.
"""

import bisect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper import lineage
from sweeper.search.agenda import Owed
from sweeper.storage import attributes, store

KEPT = (
    "id",
    "seed",
    "point",
    lineage.KEY,
    "attempts",
    "demand",
    "busy_before",
    "progress",
    "card",  # with the next one: what its attempts have used of a budget
    "card_seconds_before",
    "is_mean",
)
QUEUED_AFTER = "queued_after"  # attempts of the row that this one follows


class Rows:
    """The newest row of each trial id.

    Args:
        study: whose storage is written to, by this object alone.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._hidden: frozenset[str] = frozenset()
        self._storage = study._storage
        found = self._storage.get_all_trials(study._study_id, deepcopy=False)
        self._newest = attributes.newest(found)
        self._places: dict[str, int] = {}  # of ids, in `_newest`
        self._stale: set[int] = set()  # places that were written to since `all`
        self._news: list[set[int]] = []  # and since each that follows looked
        self._waiting: list[int] = []  # places, in order
        for place, row in enumerate(self._newest):
            self._places[row.user_attrs["id"]] = place
            if row.state is TrialState.WAITING:
                self._waiting.append(place)

    def all(self) -> Sequence[FrozenTrial]:
        """Every row that counts, by number; not to be changed.

        Only rows that were written to since the last call are read again.
        """
        for place in self._stale:
            row_id = self._newest[place]._trial_id
            self._newest[place] = self._storage.get_trial(row_id)
        self._stale.clear()
        return self._newest

    def follow(self) -> Callable[[], Mapping[int, FrozenTrial]]:
        """What gives the rows that were written to since its last call, by place.

        Its first call gives all rows. A trial keeps its place, also where a new row
        takes that of its old one.
        """
        news = set(range(len(self._newest)))
        self._news.append(news)

        def changed() -> Mapping[int, FrozenTrial]:
            rows, places = self.all(), sorted(news)
            news.clear()
            return {place: rows[place] for place in places}

        return changed

    def _tell(self, place: int) -> None:
        for news in self._news:
            news.add(place)

    def waiting(self, *, but: Collection[str]) -> str | None:
        """The first trial that waits, `but` for some; None where none does."""
        for place in self._waiting:
            identity: str = self._newest[place].user_attrs["id"]
            if identity not in but:
                return identity
        return None

    @property
    def num_waiting(self) -> int:
        """How many trials wait or are about to start."""
        return len(self._waiting)

    def queue(self, *, but: Collection[str]) -> list[FrozenTrial]:
        """The trials that wait, `but` for some, by number."""
        rows = self.all()
        return [
            rows[place]
            for place in self._waiting
            if rows[place].user_attrs["id"] not in but
        ]

    def together(self) -> AbstractContextManager[None]:
        """Makes one write of all records of a block; they count from its end on."""
        return store.together(self._storage)

    def listed(self) -> Sequence[FrozenTrial]:
        """Every row that is not hidden, by number."""
        if not self._hidden:
            return self.all()
        return [row for row in self.all() if row.user_attrs["id"] not in self._hidden]

    def num_spent(self) -> int:
        """Trials that count in the budget: a hidden one does if it ever started."""
        if not self._hidden:
            return len(self._newest)
        return sum(
            row.user_attrs["id"] not in self._hidden or "attempts" in row.user_attrs
            for row in self.all()
        )

    def hide(self, ids: Collection[str]) -> None:
        """Hide these trials, and no others, from views and from decisions."""
        self._hidden = frozenset(ids)
        gone = {self._places[identity] for identity in ids}
        self._waiting = [place for place in self._waiting if place not in gone]
        self._set_of_study(store.HIDDEN, sorted(ids))

    def remember_seeds(self, seeds: Collection[int]) -> list[int]:
        """Every seed that the file has had under `seeds`, these included."""
        known = sorted({*self._study.user_attrs.get("seeds", ()), *seeds})
        self._set_of_study("seeds", known)
        return known

    def _set_of_study(self, key: str, value: Sequence[object]) -> None:
        if self._study.user_attrs.get(key, []) != value:
            self._study.set_user_attr(key, value)

    def get(self, identity: str) -> FrozenTrial:
        """The row of a trial, as it is now."""
        return self._storage.get_trial(self._row_id(identity))

    def _row_id(self, identity: str) -> int:
        return self._newest[self._places[identity]]._trial_id

    def _written(self, identity: str) -> int:
        """The id of a row that is about to be written to."""
        self._stale.add(self._places[identity])
        self._tell(self._places[identity])
        return self._row_id(identity)

    def create(self, owed: Owed) -> str:
        """Write a WAITING row; its id.

        One record holds the whole row: a kill leaves all of it or nothing.
        """
        suggestion = owed.suggestion
        row_id = self._storage.create_new_trial(
            self._study._study_id,
            create_trial(
                state=TrialState.WAITING,
                params=dict(suggestion.params),
                distributions=dict(suggestion.distributions),
                user_attrs=attributes.named(
                    owed.id, suggestion.params, seed=owed.seed, place=owed.lineage
                ),
                system_attrs=dict(suggestion.system_attrs),
            ),
        )
        place = len(self._newest)
        self._newest.append(self._storage.get_trial(row_id))
        self._places[owed.id] = place
        self._tell(place)
        self._waiting.append(place)
        return owed.id

    def put_again(self, row: FrozenTrial) -> None:
        """Write a new WAITING row for a trial that has ended."""
        row_id = self._storage.create_new_trial(self._study._study_id, again(row))
        place = self._places[row.user_attrs["id"]]
        self._newest[place] = self._storage.get_trial(row_id)
        self._tell(place)
        bisect.insort(self._waiting, place)

    def note(self, identity: str, **attributes: Any) -> None:  # JSON
        """Write attributes of a trial, each in a record of its own."""
        for key, value in attributes.items():
            self._storage.set_trial_user_attr(self._written(identity), key, value)

    def report(self, identity: str, *, epoch: int, values: Sequence[float]) -> None:
        """Write the objectives of an epoch; a second report of it replaces the first.

        Optuna keeps one value an epoch; the others are attributes of the row.
        """
        first, *others = values
        is_whole = all(map(math.isfinite, others))
        row_id = self._written(identity)
        self._storage.set_trial_intermediate_value(
            row_id, epoch, first if is_whole else math.nan
        )
        if others and is_whole:
            self.note(identity, **{f"{attributes.OTHERS}{epoch}": others})

    def move(
        self, identity: str, state: TrialState, values: Sequence[float] | None = None
    ) -> None:
        """Write a new state, with the final values where it is the last one."""
        self._storage.set_trial_state_values(self._written(identity), state, values)
        place = self._places[identity]
        index = bisect.bisect_left(self._waiting, place)
        was_waiting = self._waiting[index : index + 1] == [place]
        if was_waiting and state is not TrialState.WAITING:
            del self._waiting[index]
        elif state is TrialState.WAITING and not was_waiting:
            self._waiting.insert(index, place)


def again(row: FrozenTrial) -> FrozenTrial:
    """A WAITING row for a trial that has ended, without its failures.

    A finished row cannot be written to; the newest row of an id counts. What the
    trial reported comes along, and its next start goes on from its checkpoint.
    """
    kept = {
        key: value
        for key, value in row.user_attrs.items()
        if key in KEPT or key.startswith(attributes.OTHERS)
    }
    return create_trial(
        state=TrialState.WAITING,
        params=row.params,
        distributions=row.distributions,
        user_attrs={**kept, QUEUED_AFTER: len(kept.get("attempts", ()))},
        system_attrs=row.system_attrs,
        intermediate_values=row.intermediate_values,
    )

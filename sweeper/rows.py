"""The rows of a study: one a trial, written record by record.

It decides nothing; `journal` does. Every method is on disk before it returns.
"""

from collections.abc import Sequence
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper import store
from sweeper.agenda import Owed

KEPT = ("id", "seed", "point", "attempts", "demand", "busy_before", "progress")
QUEUED_AFTER = "queued_after"  # attempts of the row that this one follows


class Rows:
    """The newest row of each trial id.

    Args:
        study: whose storage is written to, by this object alone.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._storage = study._storage
        self._rows = {row.user_attrs["id"]: row._trial_id for row in self.all()}

    def all(self) -> list[FrozenTrial]:
        """Every row that counts, by number; not to be changed."""
        study_id = self._study._study_id
        return store.newest(self._storage.get_all_trials(study_id, deepcopy=False))

    def get(self, identity: str) -> FrozenTrial:
        """The row of a trial, as it is now."""
        return self._storage.get_trial(self._rows[identity])

    def create(self, owed: Owed) -> str:
        """Write a WAITING row; its id.

        One record holds the whole row: a kill leaves all of it or nothing.
        """
        suggestion = owed.suggestion
        self._rows[owed.id] = self._storage.create_new_trial(
            self._study._study_id,
            create_trial(
                state=TrialState.WAITING,
                params=dict(suggestion.params),
                distributions=dict(suggestion.distributions),
                user_attrs={"id": owed.id, "seed": owed.seed, "point": owed.point},
                system_attrs=dict(suggestion.system_attrs),
            ),
        )
        return owed.id

    def note(self, identity: str, **attributes: Any) -> None:  # JSON
        """Write attributes of a trial, each in a record of its own."""
        for key, value in attributes.items():
            self._storage.set_trial_user_attr(self._rows[identity], key, value)

    def report(self, identity: str, *, epoch: int, value: float) -> None:
        """Write the objective of an epoch; a second one of the epoch replaces it."""
        self._storage.set_trial_intermediate_value(self._rows[identity], epoch, value)

    def move(
        self, identity: str, state: TrialState, values: Sequence[float] | None = None
    ) -> None:
        """Write a new state, with the final values where it is the last one."""
        self._storage.set_trial_state_values(self._rows[identity], state, values)


def again(row: FrozenTrial) -> FrozenTrial:
    """A WAITING row for a trial that has ended, without its failures.

    A finished row cannot be written to; the newest row of an id counts. What the
    trial reported comes along, and its next start goes on from its checkpoint.
    """
    kept = {key: row.user_attrs[key] for key in KEPT if key in row.user_attrs}
    return create_trial(
        state=TrialState.WAITING,
        params=row.params,
        distributions=row.distributions,
        user_attrs={**kept, QUEUED_AFTER: len(kept.get("attempts", ()))},
        system_attrs=row.system_attrs,
        intermediate_values=row.intermediate_values,
    )

"""Which trial a sweep owes next; a pure function of its rows and its experiment."""

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from sweeper.definition.experiment import Experiment
from sweeper.search import policy
from sweeper.search.past import Past
from sweeper.search_space.space import Space
from sweeper.statistics import finalists
from sweeper.trial import derive, trial_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A trial without a row yet.

    Attributes:
        point: the suggestion's name, shared by its seeds.
    """

    suggestion: policy.Suggestion
    seed: int

    @property
    def id(self) -> str:
        """Its `trial_id`."""
        return trial_id(self.suggestion.params, seed=self.seed)

    @property
    def point(self) -> str:
        """Name of the suggestion, whatever the seed."""
        return trial_id(self.suggestion.params, seed=0)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is owed until a trial that runs now has ended."""


def next_owed(
    rows: Sequence[FrozenTrial],
    *,
    experiment: Experiment,
    space: Space,
    search: policy.Search,
) -> Owed | Wait | None:
    """The next trial: a seed that an old suggestion lacks, else a new suggestion.

    Once there is neither, finalists run again on fresh seeds, where the file says so.

    Args:
        rows: all rows of the study, by number.
        search: the search algorithm, as `algorithms.search` read it.

    Returns:
        None once the budget of trials is used or the space has no other point.
    """
    first = [row for row in rows if not finalists.is_fresh(row, experiment)]
    limit = experiment.budget.trials
    if limit is None or len(first) < limit - experiment.confirm.trials:
        owed = _missing_seed(first, experiment.seeds) or new(
            first, experiment=experiment, space=space, search=search
        )
        if owed is not None:
            return owed
    return confirmation(rows, first, experiment) if experiment.confirm.top else None


def confirmation(
    rows: Sequence[FrozenTrial], first: Sequence[FrozenTrial], experiment: Experiment
) -> Owed | Wait | None:
    """The next run of a finalist on a fresh seed, once the `first` round has ended."""
    if not all(row.state.is_finished() for row in first):
        return Wait()
    seeds = finalists.confirm_seeds(experiment.confirm, taken=experiment.seeds)
    known = {(row.user_attrs["point"], row.user_attrs["seed"]) for row in rows}
    chosen = finalists.finalists(first, experiment)
    for seed in seeds:
        for row in chosen:
            if (row.user_attrs["point"], seed) not in known:
                return Owed(suggestion=again(row), seed=seed)
    return None


def again(row: FrozenTrial) -> policy.Suggestion:
    """The suggestion that a row was made of."""
    return policy.Suggestion(
        params=row.params,
        distributions=row.distributions,
        system_attrs=row.system_attrs,
    )


def _missing_seed(rows: Sequence[FrozenTrial], seeds: Sequence[int]) -> Owed | None:
    known = {(row.user_attrs["point"], row.user_attrs["seed"]) for row in rows}
    for row in rows:
        for seed in seeds:
            if (row.user_attrs["point"], seed) not in known:
                return Owed(suggestion=again(row), seed=seed)
    return None


def new(
    rows: Sequence[FrozenTrial],
    *,
    experiment: Experiment,
    space: Space,
    search: policy.Search,
    past: Past | None = None,
) -> Owed | None:
    """A new suggestion, with the first seed.

    Args:
        past: what saw these rows before, where something did: it saves time.
    """
    first = experiment.seeds[0]
    is_max = experiment.objective.mode == "max"
    suggestion = policy.suggest(
        rows,
        space=space,
        search=search,
        direction=StudyDirection.MAXIMIZE if is_max else StudyDirection.MINIMIZE,
        seed=derive(first, "suggest", len(rows)),
        past=past,
    )
    return None if suggestion is None else Owed(suggestion=suggestion, seed=first)

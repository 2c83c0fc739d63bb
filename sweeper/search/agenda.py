"""Which trial a sweep owes next; a pure function of its rows and its experiment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from optuna.trial import FrozenTrial

from sweeper import lineage
from sweeper.experiment.experiment import Experiment
from sweeper.experiment.space import Space
from sweeper.lineage import Lineage
from sweeper.search import policy
from sweeper.search.asha import Asha
from sweeper.search.past import Past
from sweeper.search.population import Population
from sweeper.search.samplers import directions
from sweeper.statistics import finalists
from sweeper.trial import derive, point_id, trial_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A trial without a row yet.

    Attributes:
        lineage: its place in a population, None outside of one.
    """

    suggestion: policy.Suggestion
    seed: int
    lineage: Lineage | None = None

    @property
    def id(self) -> str:
        """Its `trial_id`."""
        parent = lineage.parent(self.lineage)
        return trial_id(self.suggestion.params, seed=self.seed, parent=parent)

    @property
    def point(self) -> str:
        """Name of the suggestion, whatever the seed."""
        return point_id(self.suggestion.params, self.lineage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A trial that was stopped and goes on from its checkpoint."""

    row: FrozenTrial


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is owed until a trial that runs now has ended."""


def next_owed(
    rows: Sequence[FrozenTrial],
    *,
    experiment: Experiment,
    space: Space,
    search: policy.Search,
    scheduler: object = None,
) -> Owed | Again | Wait | None:
    """The next trial: a seed that an old suggestion lacks, else a new suggestion.

    Once there is neither, finalists run again on fresh seeds, where the file says so.
    Before both comes a stopped trial, where the scheduler has one go on.

    Args:
        rows: all rows of the study, by number.
        search: the search algorithm, as `algorithms.search` read it.
        scheduler: as `algorithms.scheduler` read it.

    Returns:
        None once the budget of trials is used or the space has no other point.
    """
    if isinstance(scheduler, Population):
        return of_population(
            rows,
            scheduler,
            experiment=experiment,
            space=space,
            new=lambda: new(rows, experiment=experiment, space=space, search=search),
        )
    again = promotion(rows, scheduler, experiment)
    if isinstance(again, Again):
        return again
    first = [row for row in rows if not finalists.is_fresh(row, experiment)]
    limit = experiment.budget.trials
    if limit is None or len(first) < limit - experiment.confirm.trials:
        owed = _missing_seed(first, experiment.seeds) or new(
            first, experiment=experiment, space=space, search=search
        )
        if owed is not None:
            return owed
    if again is not None:
        return again
    return confirmation(rows, first, experiment) if experiment.confirm.top else None


def of_population(
    rows: Sequence[FrozenTrial],
    population: Population,
    *,
    experiment: Experiment,
    space: Space,
    new: Callable[[], Owed | None],
) -> Owed | Wait | None:
    """The next trial of a population: a founder, then children, by generations.

    Args:
        new: what the search suggests next.
    """
    limit = experiment.budget.trials
    if limit is not None and len(rows) >= limit:
        return None
    place = population.founder(rows)
    owed = new() if place is not None else None
    if owed is not None:
        return replace(owed, lineage=place)
    found = population.child(
        rows,
        space=space,
        sign=1 if experiment.objective.mode == "max" else -1,
        seed=experiment.seeds[0],
    )
    if found is not None:
        suggestion = policy.Suggestion(
            params=found.params,
            distributions=space.distributions_of(found.params),
        )
        seed = experiment.seeds[0]
        return Owed(suggestion=suggestion, seed=seed, lineage=found.lineage)
    newest = population.newest(rows).values()
    return None if all(row.state.is_finished() for row in newest) else Wait()


def promotion(
    rows: Sequence[FrozenTrial], scheduler: object, experiment: Experiment
) -> Again | Wait | None:
    """A stopped trial that goes on; Wait while a trial that runs may yet cause one."""
    if not isinstance(scheduler, Asha) or not scheduler.is_promoting:
        return None
    found = scheduler.promoted(rows, is_max=experiment.objective.mode == "max")
    if found is not None:
        return Again(row=found)
    return None if all(row.state.is_finished() for row in rows) else Wait()


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
    suggestion = policy.suggest(
        rows,
        space=space,
        search=search,
        directions=directions(experiment.objectives),
        seed=derive(first, "suggest", len(rows)),
        past=past,
    )
    return None if suggestion is None else Owed(suggestion=suggestion, seed=first)

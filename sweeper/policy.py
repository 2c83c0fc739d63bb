"""Three decisions over a study: what to run next, whether to go on, whether to retry.

Each is a function of its arguments alone: the same journal gets the same answer in
any process.
"""

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from hydra.utils import get_class, instantiate
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.experiment import Retry
from sweeper.space import Space
from sweeper.trial import Decision, Failure, Params, derive, trial_id

MAX_DRAWS = 50  # of a sampler, before a finite space is enumerated


class Grid:
    """Marks the search that takes every point of the space in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search algorithm: a class and its arguments, made anew for each ask.

    Optuna's samplers learn in memory; one that lived as long as a driver would
    suggest otherwise after a restart.
    """

    config: Mapping[str, object]

    @property
    def is_grid(self) -> bool:
        """Whether the points are enumerated and not drawn."""
        return issubclass(get_class(str(self.config["_target_"])), Grid)

    def sampler(self, seed: int) -> BaseSampler:
        """A fresh sampler with its own random stream."""
        target = get_class(str(self.config["_target_"]))
        takes_seed = "seed" in inspect.signature(target).parameters
        seeded = {"seed": seed} if takes_seed else {}
        sampler: BaseSampler = instantiate(dict(self.config), **seeded)
        return sampler


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A point to try.

    Attributes:
        system_attrs: state that some of Optuna's samplers keep with a trial.
    """

    params: Params
    distributions: Mapping[str, BaseDistribution]
    system_attrs: Mapping[str, Any] = field(default_factory=dict)


def suggest(
    history: Sequence[FrozenTrial],
    *,
    space: Space,
    search: Search,
    direction: StudyDirection,
    seed: int,
) -> Suggestion | None:
    """The next point: the baseline, else what the search says; never one twice.

    Args:
        history: every row so far; its points count as tried, whatever became of them.
        space: where points come from.
        search: the algorithm.
        direction: of the objective.
        seed: of this suggestion's random stream.

    Returns:
        None when no untried point is left.
    """
    tried = {trial_id(row.params, seed=0) for row in history}
    for params in _candidates(history, space, search, direction, seed):
        if trial_id(params.params, seed=0) not in tried and space.allows(params.params):
            return params
    return None


def _candidates(
    history: Sequence[FrozenTrial],
    space: Space,
    search: Search,
    direction: StudyDirection,
    seed: int,
) -> Iterator[Suggestion]:
    known = space.distributions
    if space.baseline is not None:
        yield Suggestion(params=space.baseline, distributions=known)
    if not search.is_grid:
        study = _rebuild(history, space, direction)
        for draw in range(MAX_DRAWS):
            yield _ask(study, space, search.sampler(derive(seed, "draw", draw)))
        if space.size is None:
            return
    points = list(space.points()) if space.size is not None or search.is_grid else []
    offset = 0 if search.is_grid or not points else seed % len(points)
    for params in itertools.chain(points[offset:], points[:offset]):
        yield Suggestion(params=params, distributions=known)


def _rebuild(
    history: Sequence[FrozenTrial], space: Space, direction: StudyDirection
) -> Study:
    """A study in memory with the rows that the space still has.

    A row of an older file may hold values that were since removed; Optuna refuses to
    mix distributions, so each row gets the space's own, or is left out.
    """
    study = optuna.create_study(storage=InMemoryStorage(), direction=direction)
    known = space.distributions
    for row in history:
        if row.state is TrialState.FAIL or set(row.params) != set(known):
            continue
        if not all(_is_member(known[name], v) for name, v in row.params.items()):
            continue
        is_final = row.state.is_finished()
        study.add_trial(
            create_trial(
                state=row.state if is_final else TrialState.RUNNING,
                values=row.values if row.state is TrialState.COMPLETE else None,
                params=row.params,
                distributions=known,
                intermediate_values=row.intermediate_values,
                system_attrs=row.system_attrs,
            )
        )
    return study


def _is_member(distribution: BaseDistribution, value: object) -> bool:
    try:
        internal = distribution.to_internal_repr(value)
    except ValueError:
        return False
    return bool(distribution._contains(internal))


def _ask(study: Study, space: Space, sampler: BaseSampler) -> Suggestion:
    """One draw; the study in memory forgets it, so draws do not see each other."""
    study.sampler = sampler
    trial = study.ask(fixed_distributions=space.distributions)
    frozen = trial._get_latest_trial()
    study.tell(trial, state=TrialState.FAIL)
    return Suggestion(
        params=frozen.params,
        distributions=frozen.distributions,
        system_attrs=frozen.system_attrs,
    )


def decide(study: Study, trial: FrozenTrial, *, scheduler: BasePruner) -> Decision:
    """Whether a trial goes on after its last report."""
    return Decision.STOP if scheduler.prune(study, trial) else Decision.CONTINUE


def retry(failures: Sequence[Failure], allowed: Retry) -> bool:
    """Whether a trial is started again after its last failure.

    Args:
        failures: all of the trial, the last one being the newest.
        allowed: how many of each kind are tried again.
    """
    kind = failures[-1].kind
    count = sum(failure.kind is kind for failure in failures)
    return count <= int(getattr(allowed, kind.value))

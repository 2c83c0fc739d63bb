"""Optuna's samplers as functions of a history: a study made anew for each question.

It writes nothing; what a sampler notes on a trial goes back with the suggestion.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, QMCSampler
from optuna.study import Study, StudyDirection
from optuna.trial import Trial, TrialState

from sweeper.experiment.parameter import SPACE
from sweeper.experiment.sections import Objective
from sweeper.experiment.space import Space
from sweeper.trial import Params, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A point to try.

    Attributes:
        system_attrs: state that some of Optuna's samplers keep with a trial.
    """

    params: Params
    distributions: Mapping[str, BaseDistribution]
    system_attrs: Mapping[str, Any] = field(default_factory=dict)


def directions(objectives: Sequence[Objective]) -> list[StudyDirection]:
    """Whether more or less is better, for each objective."""
    modes = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
    return [modes[objective.mode] for objective in objectives]


def ask(study: Study, sampler: BaseSampler, *, space: Space) -> Suggestion:
    """One draw, of which the study keeps no more than a failed trial."""
    study.sampler = sampler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        trial = study.ask()
        params = _define(trial, space)
    frozen = trial._get_latest_trial()
    study.tell(trial, state=TrialState.FAIL)
    return Suggestion(
        params=params,
        distributions=space.distributions_of(params),
        system_attrs=frozen.system_attrs,
    )


def _define(trial: Trial, space: Space) -> Params:
    """A point, drawn parameter by parameter: an earlier one says which come later."""
    params: dict[str, Value] = {}
    for parameter in space.dimensions:
        if parameter.is_in(params):
            name = parameter.study_name
            params[parameter.name] = trial._suggest(name, parameter.distribution)
    params.pop(SPACE, None)
    return space.canonical(params)


def advance(study: Study, sampler: BaseSampler, *, num_points: int) -> None:
    """Move a low-discrepancy sequence to where a sweep of `num_points` stands.

    Optuna counts in the study, and this one was just made. The first point of a study
    is drawn at random, so the sequence starts at the second.
    """
    if isinstance(sampler, QMCSampler):
        first = next(iter(study.get_trials(deepcopy=False)), None)
        distributions = dict(first.distributions) if first is not None else {}
        for _ in range(num_points - 1):
            sampler._find_sample_id(study, distributions)


def random_draws(study: Study, *, space: Space, seed: int, n: int) -> Iterator[Params]:
    """Independent draws, for when a sampler finds nothing new that is allowed."""
    sampler = optuna.samplers.RandomSampler(seed=seed)
    for _ in range(n):
        yield ask(study, sampler, space=space).params

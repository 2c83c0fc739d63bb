"""Optuna's samplers as functions of a history: a study made anew for each question.

It writes nothing; what a sampler notes on a trial goes back with the suggestion.
"""

import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, QMCSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.errors import ConfigError
from sweeper.space import Space
from sweeper.trial import Params

Key = frozenset[tuple[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A point to try.

    Attributes:
        system_attrs: state that some of Optuna's samplers keep with a trial.
    """

    params: Params
    distributions: Mapping[str, BaseDistribution]
    system_attrs: Mapping[str, Any] = field(default_factory=dict)


def key(params: Mapping[str, object]) -> Key:
    """What equal points share: 1 and 1.0 are one, as in a `Space`."""
    return frozenset(params.items())


def known_point(params: Mapping[str, object], *, space: Space) -> Params | None:
    """The space's spelling of a point; None where an edit has removed it."""
    try:
        point = space.canonical(params)
    except ConfigError:
        return None
    return point if space.allows(point) else None


def rebuild(
    history: Sequence[FrozenTrial], *, space: Space, direction: StudyDirection
) -> Study:
    """A study in memory with one trial a point: the mean over its seeds.

    Samplers count trials (a population, a start-up phase) and mean points. A row of
    an older file may hold values that were since removed; it is left out.
    """
    study = optuna.create_study(storage=InMemoryStorage(), direction=direction)
    points: dict[Key, list[FrozenTrial]] = {}
    for row in history:
        points.setdefault(key(row.params), []).append(row)
    for rows in points.values():
        params = known_point(rows[0].params, space=space)
        alive = [row for row in rows if row.state is not TrialState.FAIL]
        if params is not None and alive:
            study.add_trial(_fold(alive, params, space.distributions))
    return study


def _fold(
    rows: Sequence[FrozenTrial],
    params: Params,
    distributions: dict[str, BaseDistribution],
) -> FrozenTrial:
    """One trial for the seeds of a point; a seed that still runs does not count."""
    states = {row.state for row in rows}
    final = (TrialState.COMPLETE, TrialState.PRUNED)
    state = next((s for s in final if s in states), TrialState.RUNNING)
    values = [row.values[0] for row in rows if row.state in final and row.values]
    reports: dict[int, list[float]] = {}
    for row in rows:
        for step, value in row.intermediate_values.items():
            reports.setdefault(step, []).append(value)
    return create_trial(
        state=state,
        values=[statistics.fmean(values)] if state is TrialState.COMPLETE else None,
        params=dict(params),
        distributions=distributions,
        intermediate_values={s: statistics.fmean(v) for s, v in reports.items()},
        system_attrs=dict(rows[0].system_attrs),
    )


def ask(study: Study, sampler: BaseSampler, *, space: Space) -> Suggestion:
    """One draw, of which the study keeps no more than a failed trial."""
    study.sampler = sampler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        trial = study.ask(fixed_distributions=space.distributions)
    frozen = trial._get_latest_trial()
    study.tell(trial, state=TrialState.FAIL)
    return Suggestion(
        params=frozen.params,
        distributions=frozen.distributions,
        system_attrs=frozen.system_attrs,
    )


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

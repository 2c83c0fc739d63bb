"""What a sweep tries next, and whether a failed trial is tried again.

Each answer is a function of its arguments: the same records get the same answer in any
process.
"""

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hydra.utils import get_class, instantiate
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import Trial, TrialState

from sweeper.experiment.definition import Objective, Retry
from sweeper.experiment.parameter import SPACE
from sweeper.experiment.space import Space
from sweeper.journal.record import Failure
from sweeper.protocol import Params, Value
from sweeper.search.history import History
from sweeper.system.seeds import derive

HISTORY = 1000  # points that TPE looks back on
MAX_DRAWS = 10  # of a sampler; a GP takes a second for each
MAX_RANDOM_DRAWS = 1000  # after them, where the points cannot be listed


class Grid:
    """Marks the search that takes every point of the space in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A point to try.

    Attributes:
        notes: state that some of Optuna's samplers keep with a trial.
    """

    params: Params
    notes: Mapping[str, Any] = field(default_factory=dict)  # JSON


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
        return issubclass(self._target, Grid)

    @property
    def is_sequence(self) -> bool:
        """Whether all points are of one sequence, so that all draws share a seed."""
        return issubclass(self._target, QMCSampler)

    @property
    def history(self) -> int | None:
        """How many points a suggestion looks back on; None for all.

        TPE's time is linear in them: 25 ms at 5,000. It separates the 25 best from
        all others, and both sides are well known by then.
        """
        if issubclass(self._target, RandomSampler):
            return 0
        return HISTORY if issubclass(self._target, TPESampler) else None

    @property
    def _target(self) -> type[object]:
        found: type[object] = get_class(str(self.config["_target_"]))
        return found

    def sampler(self, seed: int, *, is_conditional: bool = False) -> BaseSampler:
        """A fresh sampler with its own random stream; a seed of the file shifts it.

        Args:
            is_conditional: whether points differ in which parameters they have; TPE
                models each group of parameters that occur together.
        """
        config = dict(self.config)
        is_tpe = issubclass(self._target, TPESampler)
        if is_conditional and is_tpe and config.get("multivariate"):
            config.setdefault("group", True)
        if "seed" in inspect.signature(self._target).parameters:
            given = config.get("seed")
            config["seed"] = seed if given is None else derive(seed, "given", given)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            made: BaseSampler = instantiate(config)
        return made


def suggest(
    history: History,
    *,
    space: Space,
    search: Search,
    objectives: Sequence[Objective],
    seed: int,
) -> Suggestion | None:
    """Return the next point: one that the file gives, else a new one of the search.

    Args:
        history: every record so far; its points count as tried, whatever their result.
        space: where points come from.
        search: the algorithm.
        seed: of this suggestion's random stream.

    Returns:
        None when no untried point is left.
    """
    for suggestion in _candidates(history, space, search, objectives, seed):
        point = suggestion.params
        if not history.has(point) and space.allows(point):
            return suggestion
    return None


def _candidates(
    history: History,
    space: Space,
    search: Search,
    objectives: Sequence[Objective],
    seed: int,
) -> Iterator[Suggestion]:
    for point in space.listed_points:
        yield Suggestion(params=point)
    if search.is_grid:
        for point in space.points():
            yield Suggestion(params=point)
        return
    if history.is_exhausted:
        return
    study = history.study(objectives, newest=search.history)
    for draw in range(MAX_DRAWS):
        stream = (space.experiment.seeds[0], "sequence")
        sampler = search.sampler(
            derive(*stream) if search.is_sequence else derive(seed, "draw", draw),
            is_conditional=space.is_conditional,
        )
        if draw == 0:
            _advance(study, sampler, num_points=history.num_points)
        yield _ask(study, sampler, space=space)
    if space.size is not None:
        points = list(space.points())
        for index in np.random.default_rng(seed).permutation(len(points)):
            yield Suggestion(params=points[index])
        return
    independent = RandomSampler(seed=derive(seed, "random"))
    for _ in range(MAX_RANDOM_DRAWS):
        yield Suggestion(params=_ask(study, independent, space=space).params)


def _ask(study: Study, sampler: BaseSampler, *, space: Space) -> Suggestion:
    """Draw once; the study keeps no more than a failed trial of it."""
    study.sampler = sampler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        trial = study.ask()
        params = _define(trial, space)
    notes = study.tell(trial, state=TrialState.FAIL).system_attrs
    return Suggestion(params=params, notes=notes)


def _define(trial: Trial, space: Space) -> Params:
    """Draw a point parameter by parameter: an earlier one decides on later ones."""
    params: dict[str, Value] = {}
    for parameter in space.dimensions:
        if parameter.is_in(params):
            name = parameter.study_name
            params[parameter.name] = trial._suggest(name, parameter.distribution)
    params.pop(SPACE, None)
    return space.canonical(params)


def _advance(study: Study, sampler: BaseSampler, *, num_points: int) -> None:
    """Move a low-discrepancy sequence behind the points of a sweep.

    Optuna counts in the study, and this one was just made. The first point of a study
    is drawn at random, so the sequence starts at the second.
    """
    if isinstance(sampler, QMCSampler):
        first = next(iter(study.get_trials(deepcopy=False)), None)
        distributions = dict(first.distributions) if first is not None else {}
        for _ in range(num_points - 1):
            sampler._find_sample_id(study, distributions)


def retry(failures: Sequence[Failure], allowed: Retry) -> bool:
    """Whether a trial is started again after its last failure.

    Args:
        failures: all of the trial, the last one being the newest.
        allowed: how many of each kind are tried again.
    """
    kind = failures[-1].kind
    count = sum(failure.kind is kind for failure in failures)
    return count <= int(getattr(allowed, kind.value))

"""New points of a search, and retries of failed trials.

Each answer is a function of its arguments: the same records get the same answer in any
process.
"""

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hydra.utils import get_class, instantiate
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import Trial, TrialState

from sweeper.compat import optuna as compat
from sweeper.experiment.definition import Experiment, Retry
from sweeper.experiment.parameter import SPACE
from sweeper.experiment.space import Space
from sweeper.journal.record import Failure, TrialRecord
from sweeper.protocol import Params, Value
from sweeper.search.history import History
from sweeper.system.identity import derive

HISTORY = 1000  # points that TPE looks back on
MAX_DRAWS = 10  # of a sampler; a GP takes a second for each
Notes = Mapping[str, Any]  # JSON: state that samplers of Optuna keep with a trial
MAX_RANDOM_DRAWS = 1000  # after them, where the points cannot be listed


class Grid:
    """Marks the search that takes every point of the space in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search algorithm: a class and its arguments, made again for each point.

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
        """Number of newest points that a suggestion considers; None for all.

        TPE's time is linear in them: 25 ms at 5,000. It separates the 25 best from
        all others, and both sides are well known by then.
        """
        if issubclass(self._target, RandomSampler):
            return 0
        return HISTORY if issubclass(self._target, TPESampler) else None

    @property
    def _target(self) -> type[object]:
        target: type[object] = get_class(str(self.config["_target_"]))
        return target

    def sampler(self, seed: int, *, is_conditional: bool = False) -> BaseSampler:
        """Return a sampler with its own random stream; a seed of the file shifts it.

        Args:
            is_conditional: whether points differ in which parameters they have; TPE
                models each group of parameters that occur together.
        """
        config = dict(self.config)
        is_tpe = issubclass(self._target, TPESampler)
        if is_conditional and is_tpe and config.get("multivariate"):
            config.setdefault("group", True)
        if "seed" in inspect.signature(self._target).parameters:
            own = config.get("seed")
            config["seed"] = seed if own is None else derive(seed, "given", own)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            made: BaseSampler = instantiate(config)
        return made


def suggest(
    history: History, *, experiment: Experiment, space: Space, search: Search
) -> TrialRecord | None:
    """Return a new point with the first seed: one that the file lists, else a draw.

    Args:
        history: every record so far; its points count as tried, whatever their result.
        space: where points come from.
        search: draws them; not a grid.

    Returns:
        None when no untried point is left.
    """
    seed = experiment.seeds[0]
    stream = derive(seed, "suggest", history.num_records)
    for params, notes in _candidates(history, experiment, space, search, stream):
        if not history.has(params) and space.allows(params):
            return replace(TrialRecord.new(params, seed=seed), notes=notes)
    return None


def _candidates(
    history: History, experiment: Experiment, space: Space, search: Search, seed: int
) -> Iterator[tuple[Params, Notes]]:
    """Yield listed points, then draws of the search, then random points."""
    for point in space.listed_points:
        yield point, {}
    if history.is_exhausted:
        return
    study = history.study(experiment.objectives, newest=search.history)
    sequence = derive(experiment.seeds[0], "sequence")
    for draw in range(MAX_DRAWS):
        study.sampler = sampler = search.sampler(
            sequence if search.is_sequence else derive(seed, "draw", draw),
            is_conditional=space.is_conditional,
        )
        if draw == 0:
            _advance(study, sampler, num_points=history.num_points)
        yield _ask(study, space=space)
    if space.size is not None:
        points = list(space.points())
        for index in np.random.default_rng(seed).permutation(len(points)):
            yield points[index], {}
        return
    study.sampler = RandomSampler(seed=derive(seed, "random"))
    for _ in range(MAX_RANDOM_DRAWS):
        params, _ = _ask(study, space=space)
        yield params, {}


def _ask(study: Study, *, space: Space) -> tuple[Params, Notes]:
    """Draw once; the study keeps no more than a failed trial of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        trial = study.ask()
        params = _define(trial, space)
    return params, study.tell(trial, state=TrialState.FAIL).system_attrs


def _define(trial: Trial, space: Space) -> Params:
    """Draw a point parameter by parameter: an earlier one decides on later ones."""
    params: dict[str, Value] = {}
    for parameter in space.dimensions:
        if parameter.is_in(params):
            name = parameter.study_name
            params[parameter.name] = compat.suggest(trial, name, parameter.distribution)
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
            compat.skip_point(sampler, study, distributions)


def retry(failures: Sequence[Failure], allowed: Retry) -> bool:
    """Return whether a trial is started again after its last failure.

    Args:
        failures: all of the trial, the last one being the newest.
        allowed: how many of each kind are tried again.
    """
    kind = failures[-1].kind
    count = sum(failure.kind is kind for failure in failures)
    return count <= int(getattr(allowed, kind.value))

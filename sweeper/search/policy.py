"""New points of a search, and retries of failed trials.

The same records give the same result in any process.
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

HISTORY = 1000  # newest points that TPE considers
MAX_DRAWS = 10  # of a sampler; a GP takes a second for each
Notes = Mapping[str, Any]  # JSON: state that samplers of Optuna keep with a trial
MAX_RANDOM_DRAWS = 1000  # after them, where the points cannot be listed


class Grid:
    """Marker of the search that takes every point of the space in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search algorithm: a class and its arguments, instantiated for each point.

    Optuna's samplers learn in memory. A sampler that lived as long as a driver would
    make other suggestions after a restart.
    """

    config: Mapping[str, object]

    @property
    def is_grid(self) -> bool:
        """Whether the points are enumerated, not drawn."""
        return issubclass(self._target, Grid)

    @property
    def is_sequence(self) -> bool:
        """Whether the points form one sequence, so that all draws share a seed."""
        return issubclass(self._target, QMCSampler)

    @property
    def history(self) -> int | None:
        """Number of newest points that a suggestion considers; None for all.

        TPE's time is linear in them: 25 ms at 5,000. It separates the 25 best from the
        rest, and `HISTORY` points are enough to model both.
        """
        if issubclass(self._target, RandomSampler):
            return 0
        return HISTORY if issubclass(self._target, TPESampler) else None

    @property
    def _target(self) -> type[object]:
        target: type[object] = get_class(str(self.config["_target_"]))
        return target

    def sampler(self, seed: int, *, is_conditional: bool = False) -> BaseSampler:
        """Return a sampler with its own random stream.

        Args:
            seed: of the stream; a seed in the experiment file is mixed into it.
            is_conditional: whether some points lack parameters that others have; TPE
                then models each group of parameters that occur together.
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
    """Return a trial of a new point with the first seed; None if no point is left.

    Points that the file lists come before draws.

    Args:
        history: every record so far; its points count as tried, whatever their result.
        search: any but a grid.
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
    """Draw a point; the study keeps it as a failed trial."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        trial = study.ask()
        params = _define(trial, space)
    return params, study.tell(trial, state=TrialState.FAIL).system_attrs


def _define(trial: Trial, space: Space) -> Params:
    """Draw a point by parameter; later parameters may depend on earlier ones."""
    params: dict[str, Value] = {}
    for parameter in space.dimensions:
        if parameter.is_in(params):
            name = parameter.study_name
            params[parameter.name] = compat.suggest(trial, name, parameter.distribution)
    params.pop(SPACE, None)
    return space.canonical(params)


def _advance(study: Study, sampler: BaseSampler, *, num_points: int) -> None:
    """Advance a low-discrepancy sequence past the points of a sweep.

    Optuna keeps its position in the study, and this study is new. The first point of a
    study is drawn at random, so the sequence starts at the second.
    """
    if isinstance(sampler, QMCSampler):
        first = next(iter(study.get_trials(deepcopy=False)), None)
        distributions = dict(first.distributions) if first is not None else {}
        for _ in range(num_points - 1):
            compat.skip_point(sampler, study, distributions)


def retry(failures: Sequence[Failure], allowed: Retry) -> bool:
    """Return whether a trial is started again after its last failure.

    Args:
        failures: all of the trial, oldest first.
        allowed: number of retries for each kind of failure.
    """
    kind = failures[-1].kind
    count = sum(failure.kind is kind for failure in failures)
    return count <= int(getattr(allowed, kind.value))

"""Three decisions over a study: what to run next, whether to go on, whether to retry.

Each is a function of its arguments alone: the same journal gets the same answer in
any process.
"""

import copy
import inspect
import math
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from hydra.utils import get_class, instantiate
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, PatientPruner
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.experiment.sections import Retry
from sweeper.experiment.space import Space
from sweeper.search import samplers
from sweeper.search.past import Past
from sweeper.search.samplers import Suggestion
from sweeper.trial import Decision, Failure, Params, derive

__all__ = [
    "Grid",
    "Patience",
    "Search",
    "Suggestion",
    "decide",
    "is_exhausted",
    "retry",
    "suggest",
]

HISTORY = 1000  # points that TPE looks back on
MAX_DRAWS = 10  # of a sampler; a GP takes a second for each
MAX_RANDOM_DRAWS = 1000  # after them, where the points cannot be listed
NOTES = "scheduler_notes"


class Grid:
    """Marks the search that takes every point of the space in its order."""


class Patience(PatientPruner):
    """Optuna's patience, to which an epoch without a number is no improvement."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether `patience` epochs in a row brought nothing better."""
        values = [value for _, value in sorted(trial.intermediate_values.items())]
        recent = values[-self._patience - 1 :]
        is_lost = len(recent) > self._patience and all(map(math.isnan, recent))
        return is_lost or super().prune(study, trial)


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
    history: Sequence[FrozenTrial],
    *,
    space: Space,
    search: Search,
    directions: Sequence[StudyDirection],
    seed: int,
    past: Past | None = None,
) -> Suggestion | None:
    """The next point: one that the file gives, else what the search says; never twice.

    Args:
        history: every row so far; its points count as tried, whatever became of them.
        space: where points come from.
        search: the algorithm.
        directions: of the objectives.
        seed: of this suggestion's random stream.
        past: what saw the history before, where something did: it saves time.

    Returns:
        None when no untried point is left.
    """
    past = (Past(space) if past is None else past).see(history)
    for found in _candidates(past, space, search, directions, seed):
        if not past.has(found.params) and space.allows(found.params):
            return found
    return None


def is_exhausted(history: Sequence[FrozenTrial], *, space: Space) -> bool:
    """Whether every point has been tried; never so where points cannot be counted."""
    return Past(space).see(history).is_exhausted


def _candidates(
    past: Past,
    space: Space,
    search: Search,
    directions: Sequence[StudyDirection],
    seed: int,
) -> Iterator[Suggestion]:
    for params in space.listed_points:
        yield _suggestion(params, space)
    if search.is_grid:
        for point in space.points():
            yield _suggestion(point, space)
        return
    if past.is_exhausted:
        return
    study = past.study(directions, newest=search.history)
    for draw in range(MAX_DRAWS):
        stream = (space.experiment.seeds[0], "sequence")
        made = search.sampler(
            derive(*stream) if search.is_sequence else derive(seed, "draw", draw),
            is_conditional=space.is_conditional,
        )
        if draw == 0:
            samplers.advance(study, made, num_points=past.num_points)
        yield samplers.ask(study, made, space=space)
    if space.size is not None:
        points = list(space.points())
        for index in np.random.default_rng(seed).permutation(len(points)):
            yield _suggestion(points[index], space)
        return
    others = samplers.random_draws(
        study, space=space, seed=derive(seed, "random"), n=MAX_RANDOM_DRAWS
    )
    for params in others:
        yield _suggestion(params, space)


def _suggestion(params: Params, space: Space) -> Suggestion:
    return Suggestion(params=params, distributions=space.distributions_of(params))


def decide(study: Study, trial: FrozenTrial, *, scheduler: BasePruner) -> Decision:
    """Whether a trial goes on after its last report.

    What the scheduler notes on the trial is written only once it has decided, with
    the epoch first: a kill in between, and the report that a new start repeats, get
    the answer of a start that was never cut.
    """
    view = _View(study._storage, trial)
    seen = Study(
        study_name=study.study_name,
        storage=cast(BaseStorage, view),
        sampler=study.sampler,
        pruner=study.pruner,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        is_over = scheduler.prune(seen, view.trial)
    view.write()
    return Decision.STOP if is_over else Decision.CONTINUE


class _View:
    """A study's storage as it was before the trial's last epoch was judged."""

    def __init__(self, storage: BaseStorage, trial: FrozenTrial) -> None:
        self._storage = storage
        self._notes: dict[str, Any] = {}  # JSON
        self.trial = copy.copy(trial)
        old = trial.system_attrs.get(NOTES)
        if old is not None and old["step"] == trial.last_step:
            attrs = trial.system_attrs.items()
            self.trial.system_attrs = {k: v for k, v in attrs if k not in old["keys"]}

    def __getattr__(self, name: str) -> object:
        return getattr(self._storage, name)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The rows, but the judged trial's as this view has it."""
        rows = self._storage.get_all_trials(study_id, deepcopy=deepcopy)
        rows = [self.trial if r.number == self.trial.number else r for r in rows]
        return [row for row in rows if states is None or row.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        """Keep a note back until the decision is made."""
        self._notes[key] = value

    def write(self) -> None:
        """Write the notes; what they belong to comes first."""
        if self._notes:
            about = {"step": self.trial.last_step, "keys": list(self._notes)}
            for key, value in {NOTES: about, **self._notes}.items():
                self._storage.set_trial_system_attr(self.trial._trial_id, key, value)


def retry(failures: Sequence[Failure], allowed: Retry) -> bool:
    """Whether a trial is started again after its last failure.

    Args:
        failures: all of the trial, the last one being the newest.
        allowed: how many of each kind are tried again.
    """
    kind = failures[-1].kind
    count = sum(failure.kind is kind for failure in failures)
    return count <= int(getattr(allowed, kind.value))

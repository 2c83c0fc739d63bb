"""Population-based training (PBT), as generations of trials.

Jaderberg et al., "Population Based Training of Neural Networks" (2017). A trial trains
for one generation and is never changed; a child names the parent whose checkpoint it
starts from. A generation starts when the one before it has ended, so that parents do
not depend on the order of reports.
"""

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution

from sweeper.experiment.definition import Experiment, Objective, epochs
from sweeper.experiment.parameter import Parameter
from sweeper.experiment.space import Space
from sweeper.journal.record import State, TrialRecord
from sweeper.protocol import Lineage, Params, Value, parent_of
from sweeper.search.schedulers import Action, Create, Scheduler, Wait
from sweeper.system.identity import derive

MAX_DRAWS = 100  # attempts to draw a child that differs from all others


class Population(Scheduler):
    """A scheduler that ends each trial with its generation, and plans the next one.

    The worst of a generation are replaced by children of the best, whose parameters
    are changed; the others continue as they are. A trial that failed, or that ended
    before its generation did, counts as worst.

    Args:
        population: trials of a generation.
        interval: epochs of a generation.
        generations: number of generations; a line of descent trains this many
            intervals.
        quantile: share of a generation that is replaced, at most 0.5.
        resample: chance that a parameter is drawn again; else it is changed.
        factors: a number is multiplied by one of them. A choice is replaced by its
            neighbour in the list: the next one for a factor above 1, else the previous.
        fixed: parameters that a child copies from its parent, such as a number of
            layers. Config groups, variants and zips are always copied.
    """

    stops_as = State.COMPLETE  # the end of a generation is not a result of pruning

    def __init__(
        self,
        *,
        population: int,
        interval: int,
        generations: int,
        quantile: float = 0.25,
        resample: float = 0.25,
        factors: Sequence[float] = (0.8, 1.2),
        fixed: Sequence[str] = (),
    ) -> None:
        for name, count, least in (
            ("population", population, 2),
            ("interval", interval, 1),
            ("generations", generations, 1),
        ):
            if type(count) is not int or count < least:
                raise ValueError(f"{name}: {count} must be a whole number >= {least}")
        if not 0 <= quantile <= 0.5:
            raise ValueError(f"quantile: {quantile} must be 0 to 0.5")
        if not 0 <= resample <= 1:
            raise ValueError(f"resample: {resample} must be 0 to 1")
        if not factors or not all(0 < f < math.inf for f in factors):
            raise ValueError(f"factors: {list(factors)} must be positive numbers")
        self._size = population
        self._interval = interval
        self._generations = generations
        self.num_trials = population * generations
        self._quantile = quantile
        self._resample = resample
        self._factors = tuple(map(float, factors))
        self._fixed = tuple(fixed)

    def stops(
        self,
        record: TrialRecord,
        records: Sequence[TrialRecord],
        *,
        objective: Objective,
    ) -> bool:
        """Return whether the trial's generation ends here."""
        lineage = record.lineage
        return lineage is not None and record.last_epoch >= lineage.until

    def check(self, experiment: Experiment, space: Space) -> None:
        """Refuse an experiment that a population cannot run.

        Raises:
            ExperimentError: names the conflicting key.
        """
        location = ("scheduler",)
        if len(experiment.seeds) > 1 or experiment.confirm.top:
            key = "seeds" if len(experiment.seeds) > 1 else "confirm"
            raise experiment.error(
                (key,),
                f"{key}: a population has one seed and no finalists, since its trials "
                "are not comparable over seeds; give one seed or another scheduler",
            )
        if space.size is not None and space.size < self._size:
            raise experiment.error(
                location,
                f"scheduler: a population of {self._size} from a space of {space.size} "
                "points; lower population or widen the space",
            )
        if space.is_conditional:
            raise experiment.error(
                location,
                "scheduler: a population changes points within one space, and this "
                "file has conditions or a list of spaces; remove them or take another "
                "scheduler",
            )
        for name in self._fixed:
            if name not in [parameter.name for parameter in space.parameters]:
                raise experiment.error(
                    location, f"scheduler: fixed: {name!r} is not in search_space"
                )
        if not any(map(self._is_free, space.parameters)):
            raise experiment.error(
                location,
                "scheduler: a population changes numbers and lists of values, and "
                "this space has none (config groups, variants, zips and what is fixed "
                "stay as they are); sweep one or take another scheduler",
            )
        total = self._interval * self._generations
        for key, count in epochs(experiment).items():
            if count < total:
                raise experiment.error(
                    ("overrides",),
                    f"overrides: {key}={count}, but {self._generations} generations of "
                    f"{self._interval} epochs train {total}; raise it",
                )

    def next_trial(
        self,
        records: Sequence[TrialRecord],
        *,
        experiment: Experiment,
        space: Space,
        new: Callable[[], TrialRecord | None],
    ) -> Action:
        """Return a trial of the first generation, or a child of a later one."""
        number = max([0, *map(_generation, records)])
        newest = _members(records, number)
        record = new() if number == 0 and len(newest) < self._size else None
        if record is not None:
            member = next(i for i in range(self._size) if i not in newest)
            origin = Lineage(
                parent="", generation=0, member=member, start=0, until=self._interval
            )
            founder = TrialRecord.new(record.params, seed=record.seed, lineage=origin)
            return Create(record=replace(founder, notes=record.notes))
        if not newest:
            return None
        before = _members(records, number - 1)
        child = self._child(before, newest, experiment, space)
        is_over = all(record.state.is_final for record in newest.values())
        if child is None and is_over and number + 1 < self._generations:
            child = self._child(newest, {}, experiment, space)
        if child is not None:
            return Create(record=child)
        return None if is_over else Wait()

    def needed(self, records: Sequence[TrialRecord]) -> set[str]:
        """Return the ids of the newest generation and of the parents of open trials."""
        newest = max([0, *map(_generation, records)])
        parents = {parent_of(r.lineage) for r in records if not r.state.is_final}
        return parents | {r.id for r in records if _generation(r) == newest}

    def _child(
        self,
        parents: Mapping[int, TrialRecord],
        present: Mapping[int, TrialRecord],
        experiment: Experiment,
        space: Space,
    ) -> TrialRecord | None:
        """Return the first child of a generation that has no record yet."""
        objective, seed = experiment.objective, experiment.seeds[0]
        ranked = _ranked(parents.values(), objective)
        number = min(math.ceil(self._quantile * len(parents)), len(parents) // 2)
        num_worst = max(0, number - (len(parents) - len(ranked)))
        survivors = ranked[: len(ranked) - num_worst]
        best = ranked[: max(1, number)]
        taken = {_identity(r.id, r.params) for r in survivors}
        taken |= {
            _identity(r.lineage.parent, r.params)
            for r in present.values()
            if r.lineage is not None
        }
        for member, record in parents.items():
            if member in present or not ranked:
                continue
            # From the best while they give new children, then from all survivors.
            draws = itertools.chain.from_iterable(
                self._draws(pool, space, seed=seed, of=record)
                for pool in (best, survivors)
            )
            child = next(
                (d for d in draws if _identity(d[0].id, d[1]) not in taken), None
            )
            if record in survivors or (child is None and record in ranked):
                child = record, record.params
            if child is not None:
                return _child(*child, member=member, interval=self._interval, seed=seed)
        return None

    def _draws(
        self, pool: Sequence[TrialRecord], space: Space, *, seed: int, of: TrialRecord
    ) -> Iterator[tuple[TrialRecord, Params]]:
        """Yield parents with changed parameters, to replace a trial."""
        rng = np.random.default_rng(derive(seed, "population", of.id))
        for _ in range(MAX_DRAWS):
            parent = pool[int(rng.integers(len(pool)))]
            params = {
                p.name: near(
                    p,
                    parent.params[p.name],
                    rng,
                    factors=self._factors,
                    resample=self._resample,
                )
                if self._is_free(p)
                else p.canonical(parent.params[p.name])
                for p in space.parameters
            }
            if space.allows(params):
                yield parent, params

    def _is_free(self, parameter: Parameter) -> bool:
        is_fixed = parameter.shapes_config or parameter.name in self._fixed
        return not is_fixed and len(parameter.texts) != 1


def _generation(record: TrialRecord) -> int:
    return -1 if record.lineage is None else record.lineage.generation


def _members(records: Sequence[TrialRecord], generation: int) -> dict[int, TrialRecord]:
    members = {
        record.lineage.member: record
        for record in records
        if record.lineage is not None and record.lineage.generation == generation
    }
    return dict(sorted(members.items()))


def _ranked(
    records: Collection[TrialRecord], objective: Objective
) -> list[TrialRecord]:
    """Return the trials that ended with their generation, best last value first."""
    scored = []
    for record in records:
        lineage, last = record.lineage, record.last_epoch
        if lineage is None or not last or record.state is State.FAILED:
            continue
        loss = objective.loss(record.values[last])
        if last >= lineage.until and math.isfinite(loss):
            scored.append((loss, lineage.member, record))
    return [record for *_, record in sorted(scored, key=lambda item: item[:2])]


def _identity(parent: str, params: Params) -> tuple[str, frozenset[object]]:
    """Return the identity of a child: two equal ones would get one trial id."""
    return parent, frozenset(params.items())


def _child(
    parent: TrialRecord, params: Params, *, member: int, interval: int, seed: int
) -> TrialRecord:
    lineage = parent.lineage
    assert lineage is not None  # noqa: S101  # of a generation
    start = parent.last_epoch or lineage.until
    return TrialRecord.new(
        params,
        seed=seed,
        lineage=Lineage(
            parent=parent.id,
            generation=lineage.generation + 1,
            member=member,
            start=start,
            until=start + interval,
        ),
    )


def near(
    parameter: Parameter,
    value: object,
    rng: np.random.Generator,
    *,
    factors: Sequence[float],
    resample: float,
) -> Value:
    """Return a number times a factor in its interval, or the neighbour of a choice.

    A whole number changes by at least one unless it is at a limit. Three numbers are
    always drawn, so that the stream stays aligned.

    Args:
        resample: chance that the value is drawn from the whole range instead.
    """
    is_resampled = rng.random() < resample
    factor = factors[int(rng.random() * len(factors))]
    position = float(rng.random())
    limits = parameter.distribution
    if not isinstance(limits, FloatDistribution | IntDistribution):
        choices = parameter.choices
        index = choices.index(parameter.canonical(value))
        neighbour = min(max(0, index + (1 if factor > 1 else -1)), len(choices) - 1)
        return choices[int(position * len(choices)) if is_resampled else neighbour]
    number = float(str(value)) * factor
    if is_resampled:
        number = _between(limits.low, limits.high, position, is_log=limits.log)
    if isinstance(limits, IntDistribution):
        number = round(number)
        if number == value and not is_resampled:
            number += 1 if factor > 1 else -1
    return parameter.canonical(min(max(limits.low, number), limits.high))


def _between(low: float, high: float, position: float, *, is_log: bool) -> float:
    if is_log:
        return math.exp(math.log(low) + position * (math.log(high) - math.log(low)))
    return low + position * (high - low)

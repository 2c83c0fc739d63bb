"""Population-based training: which trials the next generation has; pure.

Jaderberg et al., "Population Based Training of Neural Networks" (2017), as generations:
a trial trains for one generation and is never changed; a child names the parent whose
checkpoint it starts from. A generation starts when the one before it has ended, so that
who is whose parent does not depend on which trial reports first.
"""

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sweeper import lineage
from sweeper.experiment.experiment import Experiment, epochs
from sweeper.experiment.parameter import Parameter
from sweeper.experiment.space import Space
from sweeper.lineage import Lineage
from sweeper.search import mutation
from sweeper.trial import Params, derive

MAX_DRAWS = 100  # for a child that no other is equal to


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A trial of a later generation."""

    params: Params
    lineage: Lineage


class Population:
    """A scheduler that ends each trial with its generation, and plans the next one.

    The worst of a generation are replaced by children of the best, whose parameters
    are changed; the others go on as they are. A trial that failed, or that ended
    before its generation did, counts as worst.

    Args:
        population: trials of a generation.
        interval: epochs of a generation.
        generations: how many there are; a whole line trains this many intervals.
        quantile: share of a generation that is replaced, at most 0.5.
        resample: chance that a parameter is drawn anew; else it is changed.
        factors: a number is multiplied by one of them; of a list of choices the
            neighbour is taken, the next one for a factor above 1.
        fixed: parameters that a child has from its parent, such as a number of
            layers. Config groups, variants and zips always are.
    """

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
        self.size = population
        self.interval = interval
        self.generations = generations
        self._quantile = quantile
        self._resample = resample
        self._factors = tuple(map(float, factors))
        self._fixed = tuple(fixed)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial's generation ends here."""
        place = lineage.of(trial.user_attrs)
        return place is not None and (trial.last_step or 0) >= place.until

    def check(self, experiment: Experiment, space: Space) -> None:
        """Refuse what a population cannot do.

        Raises:
            ExperimentError: at the key that does not go with it.
        """
        place = ("scheduler",)
        if len(experiment.seeds) > 1 or experiment.confirm.top:
            key = "seeds" if len(experiment.seeds) > 1 else "confirm"
            raise experiment.error(
                (key,),
                f"{key}: a population has one seed and no finalists, since its trials "
                "are not comparable over seeds; give one seed or another scheduler",
            )
        if space.size is not None and space.size < self.size:
            raise experiment.error(
                place,
                f"scheduler: a population of {self.size} from a space of {space.size} "
                "points; lower population or widen the space",
            )
        if space.is_conditional:
            raise experiment.error(
                place,
                "scheduler: a population changes points within one space, and this "
                "file has conditions or a list of spaces; remove them or take another "
                "scheduler",
            )
        for name in self._fixed:
            if name not in [parameter.name for parameter in space.parameters]:
                raise experiment.error(
                    place, f"scheduler: fixed: {name!r} is not in search_space"
                )
        if not any(map(self._is_free, space.parameters)):
            raise experiment.error(
                place,
                "scheduler: a population changes numbers and lists of values, and "
                "this space has none (config groups, variants, zips and what is fixed "
                "stay as they are); sweep one or take another scheduler",
            )
        total = self.interval * self.generations
        for key, count in epochs(experiment).items():
            if count < total:
                raise experiment.error(
                    ("overrides",),
                    f"overrides: {key}={count}, but {self.generations} generations of "
                    f"{self.interval} epochs train {total}; raise it",
                )

    def newest(self, rows: Sequence[FrozenTrial]) -> dict[int, FrozenTrial]:
        """The trials of the newest generation, by member."""
        return self._generation(rows, max(map(_generation, rows), default=-1))

    def _generation(
        self, rows: Sequence[FrozenTrial], number: int
    ) -> dict[int, FrozenTrial]:
        found = {
            place.member: row
            for row in rows
            if (place := lineage.of(row.user_attrs)) and place.generation == number
        }
        return dict(sorted(found.items()))

    def founder(self, rows: Sequence[FrozenTrial]) -> Lineage | None:
        """The lineage of the next trial that starts from nothing; None for no more."""
        newest = self.newest(rows)
        if max(map(_generation, rows), default=0) > 0 or len(newest) >= self.size:
            return None
        member = next(i for i in range(self.size) if i not in newest)
        return Lineage(
            parent="", generation=0, member=member, start=0, until=self.interval
        )

    def child(
        self, rows: Sequence[FrozenTrial], *, space: Space, sign: int, seed: int
    ) -> Child | None:
        """The next trial that starts from another; None where there is none to start.

        Args:
            rows: all rows; those of the generation before the child's have ended.
            space: which points there are.
            sign: 1 where more is better, -1 where less is.
            seed: of the sweep.
        """
        newest = self.newest(rows)
        number = max(map(_generation, rows), default=-1)
        if number > 0:
            before = self._generation(rows, number - 1)
            found = self._missing(before, newest, space, sign=sign, seed=seed)
            if found is not None:
                return found
        is_over = all(row.state.is_finished() for row in newest.values())
        if not is_over or number + 1 >= self.generations:
            return None
        return self._missing(newest, {}, space, sign=sign, seed=seed)

    def _missing(
        self,
        parents: Mapping[int, FrozenTrial],
        present: Mapping[int, FrozenTrial],
        space: Space,
        *,
        sign: int,
        seed: int,
    ) -> Child | None:
        """The first child of a generation that has no row yet."""
        ranked = _ranked(parents.values(), sign=sign)
        number = min(math.ceil(self._quantile * len(parents)), len(parents) // 2)
        num_worst = max(0, number - (len(parents) - len(ranked)))
        going = ranked[: len(ranked) - num_worst]
        best = ranked[: max(1, number)]
        taken = {_start(row, row.params) for row in going}
        taken |= {
            (place.parent, frozenset(row.params.items()))
            for row in present.values()
            if (place := lineage.of(row.user_attrs))
        }
        for member, row in parents.items():
            if member in present or not ranked:
                continue
            # Of the best as long as they have children that are new, then of others.
            draws = itertools.chain.from_iterable(
                self._draws(pool, space, seed=seed, of=row) for pool in (best, going)
            )
            new = next((d for d in draws if _start(*d) not in taken), None)
            is_able = any(row is other for other in ranked)
            if any(row is other for other in going) or (new is None and is_able):
                new = row, row.params
            if new is not None:
                return _child(*new, member=member, interval=self.interval)
        return None

    def _draws(
        self, best: Sequence[FrozenTrial], space: Space, *, seed: int, of: FrozenTrial
    ) -> Iterator[tuple[FrozenTrial, Params]]:
        """Parents with changed parameters, for the place of a trial."""
        rng = np.random.default_rng(derive(seed, "population", of.user_attrs["id"]))
        for _ in range(MAX_DRAWS):
            parent = best[int(rng.integers(len(best)))]
            params = {
                p.name: mutation.near(
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


def _generation(row: FrozenTrial) -> int:
    place = lineage.of(row.user_attrs)
    return -1 if place is None else place.generation


def _ranked(rows: Collection[FrozenTrial], *, sign: int) -> list[FrozenTrial]:
    """Trials that ended with their generation, best last value first."""
    found = []
    for row in rows:
        place, last = lineage.of(row.user_attrs), row.last_step
        if place is None or last is None or row.state is TrialState.FAIL:
            continue
        value = row.intermediate_values[last]
        if last >= place.until and math.isfinite(value):
            found.append((-sign * value, place.member, row))
    return [row for *_, row in sorted(found, key=lambda item: item[:2])]


def _start(parent: FrozenTrial, params: Params) -> tuple[str, frozenset[object]]:
    """What two children must not share: they would be one trial."""
    return parent.user_attrs["id"], frozenset(params.items())


def _child(parent: FrozenTrial, params: Params, *, member: int, interval: int) -> Child:
    place = lineage.of(parent.user_attrs)
    assert place is not None  # noqa: S101  # of a generation
    start = parent.last_step or place.until
    return Child(
        params=params,
        lineage=Lineage(
            parent=parent.user_attrs["id"],
            generation=place.generation + 1,
            member=member,
            start=start,
            until=start + interval,
        ),
    )

"""The search space: Hydra's sweep grammar as Optuna's distributions, and its points.

It never reads a config; whether a key exists is the question of `compose`.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sweeper.definition.experiment import Experiment
from sweeper.definition.yaml_marks import Location
from sweeper.errors import ConfigError, nearest
from sweeper.search_space import dimensions, grammar
from sweeper.search_space.branch import Choose
from sweeper.search_space.dimensions import VARIANT
from sweeper.search_space.fixed import check_overrides
from sweeper.search_space.union import BRANCH, MAX_POINTS, Union
from sweeper.search_space.where import Where
from sweeper.search_space.zips import keys
from sweeper.trial import Params, Value

__all__ = ["BRANCH", "MAX_POINTS", "VARIANT", "Space", "parse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space(Union):
    """Every point that a sweep may try.

    Attributes:
        where: the condition on points, None for none.
        baseline: the point to compare with, None where the file has none.
        enqueued: known points to run before any that a search suggests.
        size: number of points; None where an interval makes them uncountable, or
            where there are too many to count those that satisfy `where`.
    """

    experiment: Experiment
    where: Where | None = None
    baseline: Params | None = None
    enqueued: tuple[Params, ...] = ()
    size: int | None = field(default=None)

    @property
    def given(self) -> tuple[Params, ...]:
        """The points that the file spells out: the baseline first."""
        first = () if self.baseline is None else (self.baseline,)
        return (*first, *self.enqueued)

    def points(self) -> Iterator[dict[str, Value]]:
        """Every point that `where` allows; the last parameter changes fastest.

        Raises:
            ExperimentError: an interval has no end of points, or there are too many.
        """
        for parameter in self.parameters:
            if not parameter.texts:
                raise self.experiment.error(
                    parameter.place,
                    f"search_space: {parameter.name!r} is an interval, which "
                    "'search: grid' cannot enumerate; list its values (1e-4, 1e-3) or "
                    "choose 'search: random'",
                )
        total = self.total()
        if total is None or total > MAX_POINTS:
            shown = total or f"more than {MAX_POINTS}"
            raise self.experiment.error(
                ("search_space",),
                f"search_space: {shown} points; a grid has at most {MAX_POINTS}; list "
                "fewer values or choose 'search: random'",
            )
        for point in self.walk(lambda parameter: parameter.choices):
            if self.allows(point):
                yield point

    def walk(self, choose: Choose) -> Iterator[dict[str, Value]]:
        """As that of a `Union`: every point, whatever `where` says.

        Raises:
            ExperimentError: a condition compares or divides what cannot be.
        """
        try:
            yield from Union.walk(self, choose)
        except ConfigError as error:
            message = f"search_space: {error}"
            raise self.experiment.error(("search_space",), message) from error

    def allows(self, params: Params) -> bool:
        """Whether a point satisfies `where`.

        Raises:
            ExperimentError: `where` compares or divides what cannot be.
        """
        if self.where is None:
            return True
        try:
            return self.where.holds(params)
        except ConfigError as error:
            raise self.experiment.error(("where",), str(error)) from error

    def overrides(self, params: Params) -> tuple[str, ...]:
        """Hydra overrides of a point; those of zips, then its variant, come last."""
        known = {parameter.name: parameter for parameter in self.parameters}
        own = next((branch for branch in self.branches if branch.has(params)), None)
        known |= {p.name: p for p in own.parameters} if own else {}
        words = []
        recipe: list[str] = []
        for name, value in params.items():
            if name in known and known[name].recipes:
                recipe += known[name].recipes.get(value, ())
            elif name == VARIANT:  # of before the last variant left the file
                continue
            elif name in known:
                words.append(known[name].override(value))
            else:  # a trial from before its parameter left the file
                words.append(f"{name}={grammar.to_text(value)}")
        return (*words, *recipe)


def parse(experiment: Experiment, groups: Mapping[str, Sequence[str]]) -> Space:
    """The space of an experiment.

    Args:
        experiment: what the file says.
        groups: config groups of the project with their options.

    Raises:
        ExperimentError: at the line of the first thing that is no space.
    """
    space = Space(
        experiment=experiment, branches=dimensions.branches(experiment, groups)
    )
    swept = [p for p in space.parameters if p.name != VARIANT]
    check_overrides(experiment, {key.lstrip("+") for p in swept for key in keys(p)})
    space = replace(space, where=_where(space))
    return replace(
        space,
        baseline=_given(space, ("baseline",), experiment.baseline),
        enqueued=_enqueued(space),
        size=_size(space),
    )


def _where(space: Space) -> Where | None:
    text = space.experiment.where
    if not text.strip():
        return None
    try:
        return dimensions.condition(text, space.parameters, label="where")
    except ConfigError as error:
        raise space.experiment.error(("where",), str(error)) from error


def _size(space: Space) -> int | None:
    """Count the points, and try the conditions on at least one of them."""
    experiment = space.experiment
    is_finite = all(parameter.texts for parameter in space.parameters)
    total = space.total() if is_finite else None
    if experiment.search == "grid" or (total is not None and total <= MAX_POINTS):
        _check_conditions(space)
        size = sum(1 for _ in space.points())
        if size == 0:
            message = f"where: none of {total} points satisfies it; loosen it"
            raise experiment.error(("where",), message)
        return size
    for branch in space.branches:
        first = next(branch.walk(lambda parameter: (parameter.first,)))
        space.allows(first)
    return total if is_finite and space.where is None else None


def _check_conditions(space: Space) -> None:
    """Refuse a condition that never holds, where all points are known."""
    names = {p.name for p in space.parameters if p.when is not None}
    if not names or not all(parameter.texts for parameter in space.parameters):
        return
    for point in itertools.islice(space.walk(lambda p: p.choices), MAX_POINTS):
        names -= point.keys()
    for parameter in space.parameters:
        if parameter.name in names and parameter.when is not None:
            raise space.experiment.error(
                parameter.place,
                f"search_space: {parameter.name}: when: {parameter.when.text!r} holds "
                "for no point; loosen it or remove the parameter",
            )


def _enqueued(space: Space) -> tuple[Params, ...]:
    found = []
    for index, given in enumerate(space.experiment.enqueue):
        place: Location = ("enqueue", index)
        if not given:
            raise space.experiment.error(place, "enqueue: an empty point; remove it")
        point = _given(space, place, given)
        if point is not None and point not in found:
            found.append(point)
    return tuple(found)


def _given(space: Space, place: Location, given: Mapping[str, object]) -> Params | None:
    """A point that the file spells out; a parameter of one value may be left out."""
    experiment = space.experiment
    if not given:
        return None
    key = place[0]
    for name, value in given.items():
        try:
            _check_value(space, name, value)
        except ConfigError as error:
            raise experiment.error((*place, name), f"{key}: {error}") from error
    try:
        point = space.canonical(given, is_filled=True)
    except ConfigError as error:
        raise experiment.error(place, f"{key}: {error}") from error
    if not space.allows(point):
        message = f"{key}: {point} does not satisfy where: {experiment.where}"
        raise experiment.error(place, message)
    return point


def _check_value(space: Space, name: str, value: object) -> None:
    """Refuse what no parameter of this name has."""
    known = [p for p in space.parameters if p.name == name]
    if not known:
        names = [parameter.name for parameter in space.parameters]
        raise ConfigError(f"no parameter {name!r}; {nearest(name, names)}")
    for parameter in known:
        try:
            parameter.canonical(value)
        except ConfigError:
            if parameter is known[-1]:
                raise
        else:
            return

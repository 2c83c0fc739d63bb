"""The search space of an experiment: its parameters and its points."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from optuna.distributions import BaseDistribution

from sweeper.experiment.conditions import Condition
from sweeper.experiment.definition import Experiment
from sweeper.experiment.parameter import (
    SPACE,
    VARIANT,
    Parameter,
    check_overrides,
    condition,
    read_parameters,
)
from sweeper.experiment.yaml_lines import Location
from sweeper.protocol import Params, Value
from sweeper.system import grammar
from sweeper.system.errors import ConfigError, nearest

MAX_POINTS = 100_000  # of a grid, before `where`

Choose: TypeAlias = Callable[[Parameter], Sequence[Value]]


class PointError(ConfigError):
    """Error for a point outside the space; `name` is the wrong parameter or ""."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The points that a sweep may try.

    Attributes:
        dimensions: the parameters of all spaces in the order of the file. A condition
            reads only earlier ones. For a list of spaces the first dimension chooses
            the space; it is not part of a point.
        where: the condition on points, if any.
        baseline: the point to compare with, if any.
        enqueued: points of the file that run before those of the search.
        size: number of points; None if a parameter is an interval, or if there are
            too many points to count those that satisfy `where`.
    """

    experiment: Experiment
    dimensions: tuple[Parameter, ...]
    where: Condition | None = None
    baseline: Params | None = None
    enqueued: tuple[Params, ...] = ()
    size: int | None = None

    @property
    def is_conditional(self) -> bool:
        """Whether points differ in which parameters they have."""
        return any(p.when is not None or p.name == SPACE for p in self.dimensions)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter of every space, without duplicates."""
        unique: dict[tuple[object, ...], Parameter] = {}
        for parameter in itertools.chain(*self.spaces):
            when = parameter.when.text if parameter.when else ""
            unique.setdefault((when, *parameter.signature), parameter)
        return tuple(unique.values())

    @property
    def spaces(self) -> tuple[tuple[Parameter, ...], ...]:
        """The parameters of each space of the file."""
        visible = [p for p in self.dimensions if p.name != SPACE]
        return tuple(
            tuple(p for p in visible if p.space in (None, index))
            for index in range(len(self.experiment.spaces))
        )

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Distributions by the names of the parameters in samplers' studies."""
        return {p.study_name: p.distribution for p in self.dimensions}

    def distributions_of(self, params: Params) -> dict[str, BaseDistribution]:
        """Return the distribution of each parameter of a point of this space."""
        parameters = self.parameters_of(params)
        return {p.name: p.distribution for p in parameters if p.name in params}

    def parameters_of(self, params: Params) -> tuple[Parameter, ...]:
        """Return the parameters of the first space that contains the point."""
        return self.spaces[self._space_of(params)]

    def in_study(
        self, params: Params
    ) -> tuple[dict[str, Value], dict[str, BaseDistribution]]:
        """Return a point and its distributions by their names in samplers' studies."""
        index = self._space_of(params)
        chosen = {**params, SPACE: index}
        parameters = [p for p in self.dimensions if p.space in (None, index)]
        names = {p.study_name: p.name for p in parameters if p.name in chosen}
        distributions = self.distributions
        values = {key: chosen[name] for key, name in names.items()}
        return values, {key: distributions[key] for key in names}

    def _space_of(self, params: Params) -> int:
        return self._located(params)[0] if len(self.experiment.spaces) > 1 else 0

    @property
    def listed_points(self) -> tuple[Params, ...]:
        """The baseline and the enqueued points of the file, in this order."""
        first = () if self.baseline is None else (self.baseline,)
        return (*first, *self.enqueued)

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield every point that satisfies `where`; the last parameter changes fastest.

        Raises:
            ExperimentError: see `check_grid` and `walk`.
        """
        self.check_grid()
        yield from filter(self.allows, self.walk(lambda parameter: parameter.choices))

    def check_grid(self) -> None:
        """Check that the points can be enumerated.

        Raises:
            ExperimentError: a parameter is an interval, or there are too many points.
        """
        for parameter in self.parameters:
            if not parameter.texts:
                raise self.experiment.error(
                    parameter.location,
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

    def total(self) -> int | None:
        """Return the number of points before `where`; None if more than MAX_POINTS."""
        if not self.is_conditional:
            return math.prod(len(p.texts) for p in self.dimensions)
        points = self.walk(lambda parameter: parameter.choices)
        counted = sum(1 for _ in itertools.islice(points, MAX_POINTS + 1))
        return counted if counted <= MAX_POINTS else None

    def walk(self, choose: Choose) -> Iterator[dict[str, Value]]:
        """Yield every point of the values that `choose` returns, without using `where`.

        The last parameter changes fastest. Equal points of two spaces are yielded once.

        Raises:
            ExperimentError: a condition compares or divides values of unsuitable types.
        """
        points: Iterator[dict[str, Value]] = iter([{}])
        for parameter in self.dimensions:
            points = _extended(points, parameter, choose)
        seen: set[frozenset[tuple[str, Value]]] = set()
        try:
            for point in points:
                if point.pop(SPACE, None) is not None:
                    key = frozenset(point.items())
                    if key in seen:
                        continue
                    seen.add(key)
                yield point
        except ConfigError as error:
            message = f"search_space: {error}"
            raise self.experiment.error(("search_space",), message) from error

    def allows(self, params: Params) -> bool:
        """Return whether a point satisfies `where`.

        Raises:
            ExperimentError: `where` compares or divides values of unsuitable types.
        """
        try:
            return self.where is None or self.where.holds(params)
        except ConfigError as error:
            raise self.experiment.error(("where",), str(error)) from error

    def canonical(
        self, params: Mapping[str, object], *, is_filled: bool = False
    ) -> dict[str, Value]:
        """Return the canonical form of a point, so that equal points are equal dicts.

        Args:
            is_filled: whether to add missing parameters that have a single value.

        Raises:
            PointError: a value is not in the space, or a parameter is missing, unknown
                or not part of this point.
        """
        return self._located(params, is_filled=is_filled)[1]

    def _located(
        self, params: Mapping[str, object], *, is_filled: bool = False
    ) -> tuple[int, dict[str, Value]]:
        """Return the first space that contains the point, and the canonical point."""
        errors = []
        for index, parameters in enumerate(self.spaces):
            try:
                return index, _canonical(parameters, index, params, is_filled=is_filled)
            except PointError as error:
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        reasons = "; ".join(
            f"{location}: {error}" for location, error in enumerate(errors, 1)
        )
        raise PointError(f"{dict(params)} is in no space of the list: {reasons}")

    def overrides(self, params: Params) -> tuple[str, ...]:
        """Return the Hydra overrides of a point; those of zips and variants come last.

        The point may be incomplete, or from an older version of the file.
        """
        try:
            chosen: Sequence[Parameter] = self.parameters_of(params)
        except PointError:
            chosen = ()
        parameters = {p.name: p for p in (*self.dimensions, *chosen)}
        words, recipes = list[str](), list[str]()
        for name, value in params.items():
            parameter = parameters.get(name)
            if parameter is not None and parameter.recipes:
                recipes += parameter.recipes.get(value, ())
            elif parameter is not None:
                words.append(parameter.override(value))
            elif name != VARIANT:  # else the file had variants before and has none now
                words.append(f"{name}={grammar.to_text(value)}")
        return (*words, *recipes)


def _extended(
    points: Iterator[dict[str, Value]], parameter: Parameter, choose: Choose
) -> Iterator[dict[str, Value]]:
    for point in points:
        if not parameter.is_in(point):
            yield point
            continue
        for value in choose(parameter):
            yield {**point, parameter.name: value}


def _canonical(
    parameters: Sequence[Parameter],
    space: int,
    params: Mapping[str, object],
    *,
    is_filled: bool,
) -> dict[str, Value]:
    names = [parameter.name for parameter in parameters]
    for name in params:
        if name not in names:
            raise PointError(f"no parameter {name!r}; {nearest(name, names)}", name)
    point: dict[str, Value] = {SPACE: space}
    missing: list[str] = []
    for parameter in parameters:
        name = parameter.name
        if parameter.when is not None and not missing and not parameter.is_in(point):
            if name in params:
                raise PointError(
                    f"{name!r} is a part of a point only where {parameter.when.text}; "
                    "leave it out",
                    name,
                )
        elif name in params:
            try:
                point[name] = parameter.canonical(params[name])
            except ConfigError as error:
                raise PointError(str(error), name) from error
        elif is_filled and len(parameter.texts) == 1:
            point[name] = parameter.first
        else:
            missing.append(name)
    if missing:
        raise PointError(f"no value for {', '.join(map(repr, missing))}")
    del point[SPACE]
    return point


def parse(experiment: Experiment, groups: Mapping[str, Sequence[str]]) -> Space:
    """Return the space of an experiment.

    Args:
        experiment: the experiment file.
        groups: config groups of the project with their options.

    Raises:
        ExperimentError: a part of the space is wrong, with its line.
    """
    space = Space(experiment=experiment, dimensions=read_parameters(experiment, groups))
    swept = [p for p in space.parameters if p.name != VARIANT]
    keys = {key.lstrip("+") for p in swept for key in p.keys}
    check_overrides(experiment, keys)
    if experiment.where.strip():
        try:
            where = condition(experiment.where, space.parameters, label="where")
        except ConfigError as error:
            raise experiment.error(("where",), str(error)) from error
        space = replace(space, where=where)
    enqueued = [
        _point(space, ("enqueue", index), point)
        for index, point in enumerate(experiment.enqueue)
    ]
    baseline = experiment.baseline
    return replace(
        space,
        baseline=_point(space, ("baseline",), baseline) if baseline else None,
        enqueued=tuple(p for i, p in enumerate(enqueued) if p not in enqueued[:i]),
        size=_size(space),
    )


def _point(space: Space, location: Location, params: Mapping[str, object]) -> Params:
    """Return a point of the file; parameters with a single value may be missing."""
    experiment = space.experiment
    try:
        point = space.canonical(params, is_filled=True)
    except PointError as error:
        message = f"{location[0]}: {error}"
        raise experiment.error((*location, error.name), message) from error
    if not space.allows(point):
        message = f"{location[0]}: {point} does not satisfy where: {experiment.where}"
        raise experiment.error(location, message)
    return point


def _size(space: Space) -> int | None:
    """Count the points, and evaluate the conditions on at least one of them."""
    experiment = space.experiment
    is_finite = all(parameter.texts for parameter in space.dimensions)
    total = space.total() if is_finite else None
    if experiment.search != "grid" and (total is None or total > MAX_POINTS):
        for first in space.walk(lambda p: p.choices if p.name == SPACE else (p.first,)):
            space.allows(first)
        return total if space.where is None else None
    space.check_grid()
    size, unused = 0, {p.name: p for p in space.parameters if p.when is not None}
    for point in space.walk(lambda parameter: parameter.choices):
        size += space.allows(point)
        for name in point.keys() & unused.keys():
            del unused[name]
    for parameter in unused.values():
        assert parameter.when is not None  # noqa: S101  # of `unused`
        raise experiment.error(
            parameter.location,
            f"search_space: {parameter.name}: when: {parameter.when.text!r} holds "
            "for no point; loosen it or remove the parameter",
        )
    if size == 0:
        message = f"where: none of {total} points satisfies it; loosen it"
        raise experiment.error(("where",), message)
    return size

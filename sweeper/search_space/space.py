"""The search space: Hydra's sweep grammar as Optuna's distributions, and its points.

It never reads a config; whether a key exists is the question of `compose`.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from optuna.distributions import BaseDistribution, CategoricalDistribution

from sweeper.definition.experiment import Experiment
from sweeper.definition.yaml_marks import Location
from sweeper.errors import ConfigError, nearest
from sweeper.search_space import grammar, zips
from sweeper.search_space.fixed import check_fixed, check_key, check_overrides
from sweeper.search_space.grammar import Interval
from sweeper.search_space.parameter import Parameter, from_choices, from_interval
from sweeper.search_space.where import Where
from sweeper.search_space.where import parse as parse_where
from sweeper.search_space.zips import keys
from sweeper.trial import Params, Value, derive

VARIANT = "variant"
MAX_POINTS = 100_000  # of a grid, before `where`


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Every point that a sweep may try.

    Attributes:
        parameters: in the file's order; `variant` last.
        where: the condition on points, None for none.
        baseline: the point to compare with, None where the file has none.
        enqueued: known points to run before any that a search suggests.
        size: number of points; None where an interval makes them uncountable, or
            where there are too many to count those that satisfy `where`.
    """

    experiment: Experiment
    parameters: tuple[Parameter, ...]
    where: Where | None = None
    baseline: Params | None = None
    enqueued: tuple[Params, ...] = ()
    size: int | None = field(default=None)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distribution of each parameter by name."""
        return {p.name: p.distribution for p in self.parameters}

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
                    ("search_space", parameter.name),
                    f"search_space: {parameter.name!r} is an interval, which "
                    "'search: grid' cannot enumerate; list its values (1e-4, 1e-3) or "
                    "choose 'search: random'",
                )
        total = math.prod(len(p.texts) for p in self.parameters)
        if total > MAX_POINTS:
            raise self.experiment.error(
                ("search_space",),
                f"search_space: {total} points; a grid has at most {MAX_POINTS}; list "
                "fewer values or choose 'search: random'",
            )
        names = [parameter.name for parameter in self.parameters]
        choices = [parameter.choices for parameter in self.parameters]
        for values in itertools.product(*choices):
            point = dict(zip(names, values, strict=True))
            if self.allows(point):
                yield point

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

    def canonical(self, params: Mapping[str, object]) -> dict[str, Value]:
        """The one spelling of a point: equal points become equal dicts.

        Raises:
            ConfigError: a value is not in the space, a parameter is missing or unknown.
        """
        names = [parameter.name for parameter in self.parameters]
        for name in params:
            if name not in names:
                raise ConfigError(f"no parameter {name!r}; {nearest(name, names)}")
        missing = [name for name in names if name not in params]
        if missing:
            raise ConfigError(f"no value for {', '.join(map(repr, missing))}")
        return {p.name: p.canonical(params[p.name]) for p in self.parameters}


def parse(experiment: Experiment, groups: Mapping[str, Sequence[str]]) -> Space:
    """The space of an experiment.

    Args:
        experiment: what the file says.
        groups: config groups of the project with their options.

    Raises:
        ExperimentError: at the line of the first thing that is no space.
    """
    parameters = [
        _parameter(experiment, key, given, groups)
        for key, given in experiment.search_space.items()
    ]
    parameters += _variant(experiment)
    _check_names(experiment, parameters)
    check_overrides(
        experiment,
        {key.lstrip("+") for p in parameters if p.name != VARIANT for key in keys(p)},
    )
    space = Space(
        experiment=experiment,
        parameters=tuple(parameters),
        where=_where(experiment, parameters),
    )
    return Space(
        experiment=experiment,
        parameters=space.parameters,
        where=space.where,
        baseline=_given(space, ("baseline",), experiment.baseline),
        enqueued=_enqueued(space),
        size=_size(space),
    )


def _parameter(
    experiment: Experiment,
    key: str,
    given: object,
    groups: Mapping[str, Sequence[str]],
) -> Parameter:
    location: Location = ("search_space", key)
    try:
        if isinstance(given, str):
            zipped = zips.parse(key, given, groups, seed=experiment.seeds[0])
            if zipped is not None:
                return zipped
        check_key(key)
        options = groups.get(key.lstrip("+").partition("@")[0], ())
        if isinstance(given, str):
            seed = derive(experiment.seeds[0], "shuffle", key)
            expanded = grammar.expand(key, given, options=options, seed=seed)
            if isinstance(expanded, Interval):
                return from_interval(key, expanded)
            return from_choices(key, expanded, is_group=bool(options))
        if isinstance(given, Mapping):
            raise ConfigError(
                "a mapping; write values: a string such as "
                "'1e-4, 1e-3' or 'tag(log, interval(1e-5, 1e-2))', or a list"
            )
        values = given if isinstance(given, tuple) else (given,)
        return from_choices(key, values, is_group=bool(options))
    except ConfigError as error:
        message = f"search_space: {key}: {error}"
        raise experiment.error(location, message) from error


def _variant(experiment: Experiment) -> list[Parameter]:
    for name, recipe in experiment.variants.items():
        for index, text in enumerate(recipe):
            check_fixed(experiment, text, ("variants", name, index))
    if not experiment.variants:
        return []
    texts: dict[Value, str] = {name: name for name in experiment.variants}
    distribution = CategoricalDistribution(tuple(texts))
    return [
        Parameter(
            name=VARIANT,
            distribution=distribution,
            texts=texts,
            recipes={name: tuple(words) for name, words in experiment.variants.items()},
        )
    ]


def _check_names(experiment: Experiment, parameters: Sequence[Parameter]) -> None:
    seen: dict[str, str] = {}
    for parameter in parameters:
        is_variant = parameter.name == VARIANT
        for key in (VARIANT,) if is_variant else keys(parameter):
            bare = key.lstrip("+")
            if bare in seen:
                why = (
                    "names the recipes of variants" if is_variant else "is swept twice"
                )
                raise experiment.error(
                    ("search_space", seen[bare]),
                    f"search_space: {bare!r} {why}; rename it",
                )
            seen[bare] = parameter.name


def _where(experiment: Experiment, parameters: Sequence[Parameter]) -> Where | None:
    if not experiment.where.strip():
        return None
    names = {parameter.name.lstrip("+"): parameter.name for parameter in parameters}
    try:
        return parse_where(experiment.where, names)
    except ConfigError as error:
        raise experiment.error(("where",), str(error)) from error


def _size(space: Space) -> int | None:
    """Count the points, and try `where` on at least one of them."""
    experiment = space.experiment
    is_finite = all(parameter.texts for parameter in space.parameters)
    total = math.prod(len(parameter.texts) for parameter in space.parameters)
    if experiment.search == "grid" or (is_finite and total <= MAX_POINTS):
        size = sum(1 for _ in space.points())
        if size == 0:
            message = f"where: none of {total} points satisfies it; loosen it"
            raise experiment.error(("where",), message)
        return size
    space.allows(_any(space))
    return total if is_finite and space.where is None else None


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
    only = {p.name: p.choices[0] for p in space.parameters if len(p.texts) == 1}
    for name, value in given.items():
        try:
            space.canonical({**_any(space), name: value})
        except ConfigError as error:
            raise experiment.error((*place, name), f"{key}: {error}") from error
    try:
        point = space.canonical({**only, **given})
    except ConfigError as error:
        raise experiment.error(place, f"{key}: {error}") from error
    if not space.allows(point):
        message = f"{key}: {point} does not satisfy where: {experiment.where}"
        raise experiment.error(place, message)
    return point


def _any(space: Space) -> dict[str, Value]:
    return {parameter.name: parameter.first for parameter in space.parameters}

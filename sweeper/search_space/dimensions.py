"""The parameters that an experiment file names, space by space, with their lines.

It never reads a config; whether a key exists is the question of `project`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from optuna.distributions import CategoricalDistribution

from sweeper.definition.experiment import Experiment
from sweeper.definition.yaml_marks import Location
from sweeper.errors import ConfigError
from sweeper.search_space import grammar, zips
from sweeper.search_space.branch import Branch
from sweeper.search_space.fixed import check_fixed, check_key
from sweeper.search_space.grammar import Interval
from sweeper.search_space.parameter import Parameter, from_choices, from_interval
from sweeper.search_space.where import Where
from sweeper.search_space.where import parse as parse_where
from sweeper.search_space.zips import keys
from sweeper.trial import Value, derive

VARIANT = "variant"
CONDITION = frozenset(["when", "values"])  # keys of a conditional parameter


def branches(
    experiment: Experiment, groups: Mapping[str, Sequence[str]]
) -> tuple[Branch, ...]:
    """Each space of the file; every one has the variants.

    Raises:
        ExperimentError: at the line of the first thing that is no parameter.
    """
    variant = _variant(experiment)
    if isinstance(experiment.search_space, Mapping):
        place: Location = ("search_space",)
        return (_branch(experiment, experiment.search_space, groups, variant, place),)
    if not experiment.spaces:
        raise experiment.error(
            ("search_space",),
            "search_space: an empty list; give a mapping of keys to values, or a list "
            "of such mappings",
        )
    return tuple(
        _branch(experiment, space, groups, variant, ("search_space", index))
        for index, space in enumerate(experiment.spaces)
    )


def _branch(
    experiment: Experiment,
    given: Mapping[str, object],
    groups: Mapping[str, Sequence[str]],
    variant: Sequence[Parameter],
    place: Location,
) -> Branch:
    parameters: list[Parameter] = []
    for key, content in given.items():
        parameter = _parameter(experiment, (*place, key), key, content, groups)
        parameters.append(parameter)
    parameters += variant
    _check_names(experiment, parameters, place)
    return Branch(parameters=tuple(_conditions(experiment, given, parameters, place)))


def _parameter(
    experiment: Experiment,
    place: Location,
    key: str,
    given: object,
    groups: Mapping[str, Sequence[str]],
) -> Parameter:
    try:
        if isinstance(given, Mapping):
            if given.keys() != CONDITION or not isinstance(given["when"], str):
                raise ConfigError(
                    "a mapping; write values: a string such as "
                    "'1e-4, 1e-3' or 'tag(log, interval(1e-5, 1e-2))', or a list; or "
                    "{when: a condition, values: such values}"
                )
            place, given = (*place, "values"), given["values"]
        made = _values(key, given, groups, seed=experiment.seeds[0])
    except ConfigError as error:
        message = f"search_space: {key}: {error}"
        raise experiment.error(place, message) from error
    return replace(made, place=place)


def _values(
    key: str, given: object, groups: Mapping[str, Sequence[str]], *, seed: int
) -> Parameter:
    if isinstance(given, str):
        zipped = zips.parse(key, given, groups, seed=seed)
        if zipped is not None:
            return zipped
    check_key(key)
    group = key.lstrip("+").partition("@")[0]
    is_group, options = group in groups, groups.get(group, ())
    if isinstance(given, str):
        shuffled = derive(seed, "shuffle", key)
        expanded = grammar.expand(key, given, options=options, seed=shuffled)
        if isinstance(expanded, Interval):
            return from_interval(key, expanded)
        return from_choices(key, expanded, is_group=is_group)
    if isinstance(given, Mapping):
        raise ConfigError("values: a mapping; write a string or a list")
    values = given if isinstance(given, tuple) else (given,)
    return from_choices(key, values, is_group=is_group)


def _conditions(
    experiment: Experiment,
    given: Mapping[str, object],
    parameters: Sequence[Parameter],
    place: Location,
) -> list[Parameter]:
    """The parameters with their conditions, each of which reads only earlier ones."""
    found: list[Parameter] = []
    for parameter in parameters:
        content = given.get(parameter.name)
        if parameter.name == VARIANT or not isinstance(content, Mapping):
            found.append(parameter)
            continue
        where = (*place, parameter.name, "when")
        try:
            when = condition(str(content["when"]), parameters, label="when")
            above = [other.name for other in found]
            below = sorted(name for name in when.names if name not in above)
            if below:
                raise ConfigError(
                    f"when: {below[0]!r} does not stand above it; a condition reads "
                    "the parameters above it, so move it up"
                )
        except ConfigError as error:
            message = f"search_space: {parameter.name}: {error}"
            raise experiment.error(where, message) from error
        found.append(replace(parameter, when=when))
    return found


def condition(text: str, parameters: Sequence[Parameter], *, label: str) -> Where:
    """The condition that a text makes on points of some parameters.

    Raises:
        ConfigError: it is none, or names what is no parameter.
    """
    names = {parameter.name.lstrip("+"): parameter.name for parameter in parameters}
    words = {c for p in parameters for c in p.texts if isinstance(c, str)}
    return parse_where(text, names, words=words, label=label)


def _variant(experiment: Experiment) -> list[Parameter]:
    for name, recipe in experiment.variants.items():
        for index, text in enumerate(recipe):
            check_fixed(experiment, text, ("variants", name, index))
    if not experiment.variants:
        return []
    texts: dict[Value, str] = {name: name for name in experiment.variants}
    return [
        Parameter(
            name=VARIANT,
            distribution=CategoricalDistribution(tuple(texts)),
            texts=texts,
            recipes={name: tuple(words) for name, words in experiment.variants.items()},
            place=("variants",),
        )
    ]


def _check_names(
    experiment: Experiment, parameters: Sequence[Parameter], place: Location
) -> None:
    seen: dict[str, str] = {}
    for parameter in parameters:
        is_variant = parameter.name == VARIANT and parameter.place == ("variants",)
        for key in (VARIANT,) if is_variant else keys(parameter):
            bare = key.lstrip("+")
            if bare in seen:
                why = (
                    "names the recipes of variants" if is_variant else "is swept twice"
                )
                raise experiment.error(
                    (*place, seen[bare]),
                    f"search_space: {bare!r} {why}; rename it",
                )
            seen[bare] = parameter.name

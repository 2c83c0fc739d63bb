"""Parameters of an experiment file's search space, read with their lines."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from optuna.distributions import BaseDistribution, CategoricalDistribution

from sweeper.experiment import conditions, hydra_sweeper
from sweeper.experiment.conditions import Condition
from sweeper.experiment.experiment import Experiment
from sweeper.experiment.parameter import (
    SPACE,
    Parameter,
    expand,
    from_recipes,
    from_values,
)
from sweeper.experiment.yaml_lines import Location
from sweeper.system import grammar
from sweeper.system.errors import ConfigError
from sweeper.system.seeds import derive

VARIANT = "variant"

_ZIP = re.compile(r"\s*zip\((.*)\)\s*", re.DOTALL)


def read(
    experiment: Experiment, groups: Mapping[str, Sequence[str]]
) -> tuple[Parameter, ...]:
    """Return the parameters of all spaces in the file's order, the variants last.

    A list of spaces is a choice of one, on which the parameters of each depend.

    Raises:
        ExperimentError: at the line of the first thing that is not a parameter.
    """
    variants = _variants(experiment)
    is_list = isinstance(experiment.search_space, tuple)
    num_spaces = len(experiment.spaces)
    if not num_spaces:
        message = (
            "search_space: an empty list; give a mapping of keys to values, or a list "
            "of such mappings"
        )
        raise experiment.error(("search_space",), message)
    parameters: list[Parameter] = []
    for index, contents in enumerate(experiment.spaces):
        location: Location = ("search_space", index) if is_list else ("search_space",)
        space: list[Parameter] = []
        for key, content in contents.items():
            made = _parameter(experiment, (*location, key), content, space, groups)
            space.append(replace(made, space=index if num_spaces > 1 else None))
        _check_names(experiment, [*space, *variants], location)
        parameters += space
    parameters += variants
    named = [replace(p, study_name=_study_name(p, parameters)) for p in parameters]
    if num_spaces == 1:
        return tuple(named)
    choice = Parameter(
        name=SPACE,
        distribution=CategoricalDistribution(tuple(range(num_spaces))),
        texts={index: str(index) for index in range(num_spaces)},
        study_name=SPACE,
    )
    return (choice, *named)


def _study_name(parameter: Parameter, others: Sequence[Parameter]) -> str:
    same = [other for other in others if other.name == parameter.name]
    if all(other.signature == parameter.signature for other in same):
        return parameter.name
    return f"{parameter.space}{SPACE}{parameter.name}"


def _parameter(
    experiment: Experiment,
    location: Location,
    content: object,
    above: Sequence[Parameter],
    groups: Mapping[str, Sequence[str]],
) -> Parameter:
    key = str(location[-1])
    when: Condition | None = None
    try:
        if isinstance(content, Mapping):
            text = content.get("when")
            if content.keys() != {"when", "values"} or not isinstance(text, str):
                raise ConfigError(
                    "a mapping; write values: a string such as "
                    "'1e-4, 1e-3' or 'tag(log, interval(1e-5, 1e-2))', or a list; or "
                    "{when: a condition, values: such values}"
                )
            location = (*location[:-1], key, "when")
            when = condition(text, above, label="when")
            location, content = (*location[:-1], "values"), content["values"]
        made = _values(key, content, groups, seed=experiment.seeds[0])
    except ConfigError as error:
        message = f"search_space: {key}: {error}"
        raise experiment.error(location, message) from error
    return replace(made, when=when, location=location)


def _values(
    key: str, content: object, groups: Mapping[str, Sequence[str]], *, seed: int
) -> Parameter:
    if isinstance(content, str) and (zipped := _ZIP.fullmatch(content)):
        return _zip(key, zipped[1], groups, seed=seed)
    check_key(key)
    is_group = _group(key) in groups
    if isinstance(content, str):
        content = _expanded(key, content, groups, seed=seed)
    if isinstance(content, BaseDistribution):
        return Parameter(name=key, distribution=content)
    if isinstance(content, Mapping):
        raise ConfigError("values: a mapping; write a string or a list")
    values = content if isinstance(content, tuple) else (content,)
    return from_values(key, values, is_group=is_group)


def _zip(
    name: str, text: str, groups: Mapping[str, Sequence[str]], *, seed: int
) -> Parameter:
    """Return the parameter of `zip(a=choice(1, 2), b=choice(x, y))`.

    The form is the one that Hydra plans for its own grammar.
    """
    if not name.isidentifier():
        raise ConfigError(
            f"{name!r} names a zip, which is not a key of the config; name it as a "
            "word, such as pair"
        )
    columns: dict[str, list[str]] = {}
    for part in _split(text):
        key, sign, values_text = part.partition("=")
        key = key.strip()
        if not sign:
            raise ConfigError(f"{part.strip()!r} in a zip; it must be key=choice(...)")
        check_key(key)
        values = _expanded(key, values_text, groups, seed=seed)
        if isinstance(values, BaseDistribution):
            raise ConfigError(f"{key!r} in a zip is an interval; list its values")
        columns[key] = [f"{key}={grammar.to_text(value)}" for value in values]
    lengths = {key: len(words) for key, words in columns.items()}
    if len(columns) < 2 or len(set(lengths.values())) > 1:
        raise ConfigError(
            f"a zip of {lengths}; it must have two keys or more, each with as many "
            "values as the others"
        )
    recipes = {",".join(words): words for words in zip(*columns.values(), strict=True)}
    if len(recipes) < max(lengths.values()):
        raise ConfigError("a zip with the same values twice; remove one")
    return from_recipes(name, recipes)


def _split(text: str) -> list[str]:
    """Split a text at the commas that are in no bracket and no quote."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += character
    return parts


def _expanded(
    key: str, text: str, groups: Mapping[str, Sequence[str]], *, seed: int
) -> tuple[object, ...] | BaseDistribution:
    options = groups.get(_group(key), ())
    return expand(key, text, options=options, seed=derive(seed, "shuffle", key))


def _group(key: str) -> str:
    return key.lstrip("+").partition("@")[0]


def _variants(experiment: Experiment) -> list[Parameter]:
    for name, recipe in experiment.variants.items():
        for index, text in enumerate(recipe):
            check_override(experiment, text, ("variants", name, index))
    if not experiment.variants:
        return []
    made = from_recipes(VARIANT, experiment.variants)
    return [replace(made, location=("variants",))]


def condition(text: str, parameters: Sequence[Parameter], *, label: str) -> Condition:
    """Return the condition of a text on points of some parameters.

    Raises:
        ConfigError: it is not a condition, or names an unknown parameter.
    """
    names = {parameter.name.lstrip("+"): parameter.name for parameter in parameters}
    words = {c for p in parameters for c in p.texts if isinstance(c, str)}
    return conditions.parse(text, names, words=words, label=label)


def _check_names(
    experiment: Experiment, parameters: Sequence[Parameter], location: Location
) -> None:
    seen: dict[str, str] = {}
    for parameter in parameters:
        is_variant = parameter.location == ("variants",)
        for key in (VARIANT,) if is_variant else parameter.keys:
            bare = key.lstrip("+")
            if bare in seen:
                reason = (
                    "names the recipes of variants" if is_variant else "is swept twice"
                )
                message = f"search_space: {bare!r} {reason}; rename it"
                raise experiment.error((*location, seen[bare]), message)
            seen[bare] = parameter.name


def check_key(key: str) -> None:
    """Refuse a key that cannot be swept.

    Raises:
        ConfigError: it is not a key, Hydra's own, a deletion, or the seed.
    """
    if key.lstrip("+") == "seed":
        raise ConfigError("each trial's seed is set from seeds; write seeds: [42, 43]")
    override = grammar.parse_override(f"{key}=0")
    if override.is_delete():
        raise ConfigError("a deletion has no values; write it under variants")
    if override.is_hydra_override():
        raise ConfigError(
            "Hydra's own settings are not swept; write it under overrides"
        )


def check_override(experiment: Experiment, text: str, location: Location) -> str:
    """Return the key of an override that sets one value.

    Raises:
        ExperimentError: it is not such an override.
    """
    try:
        override = grammar.parse_override(text)
        key: str = override.key_or_group
        if override.is_sweep_override():
            raise ConfigError(f"{text!r} is a sweep; write it under search_space")
        if hydra_sweeper.is_own(key):
            raise ConfigError(
                f"{text!r}: Hydra's own sweeper and launcher do not run here; remove "
                f"it; {hydra_sweeper.NEXT}"
            )
        if key == "seed":
            raise ConfigError(f"{text!r}: each trial's seed is set from seeds: [42]")
    except ConfigError as error:
        dotted = ".".join(map(str, location[:-1]))
        raise experiment.error(location, f"{dotted}: {error}") from error
    return key


def check_overrides(experiment: Experiment, swept: Collection[str]) -> None:
    """Refuse an override of all trials that the search space would undo.

    Raises:
        ExperimentError: it sets a key of `swept`, or is not an override.
    """
    for index, text in enumerate(experiment.overrides):
        location: Location = ("overrides", index)
        key = check_override(experiment, text, location)
        if key in swept:
            raise experiment.error(
                location,
                f"overrides: {text!r} would have no effect, since search_space sweeps "
                f"{key!r}; remove one of them",
            )

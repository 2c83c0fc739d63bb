"""Parameters of a search space, their values and the overrides of each value."""

import math
import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    RangeSweep,
)
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from sweeper.experiment import conditions
from sweeper.experiment.conditions import Condition
from sweeper.experiment.definition import HYDRA_ADVICE, HYDRA_SWEEPER, Experiment
from sweeper.experiment.yaml_lines import Location
from sweeper.protocol import Params, Value
from sweeper.system import grammar
from sweeper.system.errors import ConfigError, nearest
from sweeper.system.identity import derive

VARIANT = "variant"
SPACE = "#"  # the choice between the spaces of a list
MAX_CHOICES = 10_000
SHOWN = 12  # choices in a message
_TAGS = {"int", "log"}
_ZIP = re.compile(r"\s*zip\((.*)\)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter that sets one key, or several keys at once.

    Each choice of a variant or a zip sets several keys: its recipe. Only the points
    that satisfy its condition have a conditional parameter.

    Attributes:
        name: config key or group, `variant`, or the name of a zip.
        is_group: whether the values are options of a config group.
        texts: text in Hydra's grammar by choice; empty for an interval.
        recipes: overrides by choice of a variant or a zip; else empty.
        when: the condition on the points that have it; None if all points have it.
        space: index of its space in a list of spaces; None if all spaces have it.
        study_name: name in samplers' studies. Parameters with equal values in several
            spaces share it, so that a sampler learns from all of these spaces.
        location: location of the values in the file.
    """

    name: str
    distribution: BaseDistribution
    is_group: bool = False
    texts: Mapping[Value, str] = field(default_factory=dict)
    recipes: Mapping[Value, tuple[str, ...]] = field(default_factory=dict)
    when: Condition | None = None
    space: int | None = None
    study_name: str = ""
    location: Location = field(default=("search_space",), compare=False)

    def is_in(self, point: Params) -> bool:
        """Return whether a partial point certainly has this parameter.

        Raises:
            ConfigError: its condition compares or divides values of unsuitable types.
        """
        if self.space is not None and point.get(SPACE) != self.space:
            return False
        return self.when is None or self.when.holds(point, unknown=False)

    @property
    def signature(self) -> tuple[object, ...]:
        """A tuple that is equal for parameters with equal names and values.

        Optuna's distributions do not compare integers that a float cannot represent.
        """
        values = self.texts.values() or [repr(self.distribution)]
        return (self.name, *values, *self.recipes.values())

    @property
    def keys(self) -> tuple[str, ...]:
        """Its name and the config keys that it sets."""
        recipe = next(iter(self.recipes.values()), ())
        return (self.name, *(word.partition("=")[0] for word in recipe))

    @property
    def shapes_config(self) -> bool:
        """Whether a choice may add keys to the config or remove them."""
        return self.is_group or bool(self.recipes)

    @property
    def choices(self) -> tuple[Value, ...]:
        """Its values in the order of the file; () for an interval."""
        return tuple(self.texts)

    def canonical(self, value: object) -> Value:
        """Return the canonical form of a value: 1.0 and 1 are the same value.

        Raises:
            ConfigError: the parameter does not have this value.
        """
        if isinstance(value, list | tuple | dict):
            value = grammar.to_text(value)
        if self.is_group and type(value) is int:
            value = str(value)
        for choice in self.texts:
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return choice
        if (
            not self.texts
            and isinstance(value, int | float)
            and type(value) is not bool
        ):
            low, high = self.bounds
            kind = int if isinstance(self.distribution, IntDistribution) else float
            if low <= value <= high and kind(value) == value:
                return kind(value)
        raise ConfigError(f"{value!r} is not a value of {self.name!r}: {self.domain}")

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper end of an interval."""
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)  # noqa: S101
        return self.distribution.low, self.distribution.high

    @property
    def domain(self) -> str:
        """Description of its values for a message."""
        if not self.texts:
            return "{} to {}".format(*self.bounds)
        shown = ", ".join(map(str, self.choices[:SHOWN]))
        return shown + (", ..." if len(self.texts) > SHOWN else "")

    @property
    def first(self) -> Value:
        """The first choice, or the interval's lower end."""
        return self.choices[0] if self.texts else self.bounds[0]

    def override(self, value: Value) -> str:
        """Return the override for a value, even if it is no longer in the file."""
        text = self.texts.get(value)
        return f"{self.name}={grammar.to_text(value) if text is None else text}"


def from_values(name: str, values: Sequence[object], *, is_group: bool) -> Parameter:
    """Return the parameter with these values; lists and dicts become Hydra's text.

    Raises:
        ConfigError: there are no values or too many, two are equal, or one is not the
            name of an option of a group.
    """
    if not 0 < len(values) <= MAX_CHOICES:
        raise ConfigError(
            f"{len(values)} values for {name!r}; it has 1 to {MAX_CHOICES}"
        )
    texts: dict[Value, str] = {}
    for item in values:
        value = str(item) if is_group and type(item) is int else item
        text = grammar.to_text(value)
        if isinstance(value, list | tuple | dict):
            value = text
        elif is_group and not isinstance(value, str):
            raise ConfigError(
                f"{text} is not an option of the group {name!r}; put a name in quotes"
            )
        assert value is None or isinstance(value, bool | int | float | str)  # noqa: S101
        if value in texts:  # 1, 1.0 and true are one to Python, and so to Optuna
            raise ConfigError(
                f"{name!r} lists {text}, which equals {texts[value]}; remove one"
            )
        texts[value] = text
    distribution = CategoricalDistribution(tuple(texts))
    return Parameter(
        name=name, distribution=distribution, is_group=is_group, texts=texts
    )


def from_recipes(name: str, recipes: Mapping[str, tuple[str, ...]]) -> Parameter:
    """Return a parameter whose choices each set several keys."""
    choices: dict[Value, tuple[str, ...]] = dict(recipes.items())
    return Parameter(
        name=name,
        distribution=CategoricalDistribution(tuple(recipes)),
        texts={label: label for label in recipes},
        recipes=choices,
    )


def expand(
    key: str, text: str, *, options: Sequence[str], seed: int
) -> tuple[object, ...] | BaseDistribution:
    """Return the values that a text in Hydra's sweep grammar describes.

    Args:
        key: config key or group that is swept.
        text: the right side of `key=` on Hydra's command line.
        options: options of the config group, for glob; empty for a key.
        seed: seed for the order after `shuffle`.

    Raises:
        ConfigError: the text is not valid, or matches no value.

    >>> expand("x", "range(1, 4)", options=(), seed=0)
    (1, 2, 3)
    """
    sweep = grammar.parse_override(f"{key}={text}").value()
    values: Sequence[object]
    if isinstance(sweep, IntervalSweep):
        return _interval(sweep)
    if isinstance(sweep, ChoiceSweep):
        values = [grammar.plain(item) for item in sweep.list]
    elif isinstance(sweep, RangeSweep):
        values = _range(sweep)
    elif isinstance(sweep, Glob):
        if not all(isinstance(item, str) for item in sweep.include + sweep.exclude):
            raise ConfigError(f"{text!r} matches names; put them in quotes")
        values = sweep.filter(list(options))
        if not values:
            reason = (
                f"options: {', '.join(options)}" if options else "not a config group"
            )
            raise ConfigError(f"{text!r} matches no option of {key!r} ({reason})")
    else:
        values = [grammar.plain(sweep)]
    if isinstance(sweep, ChoiceSweep | RangeSweep) and sweep.shuffle:
        values = random.Random(seed).sample(values, len(values))  # noqa: S311
    return tuple(values)


def _range(sweep: RangeSweep) -> list[object]:
    """Return decimal values: 0.1 + 0.2 is 0.3, unlike in Hydra's binary arithmetic."""
    bounds = (sweep.start, sweep.stop, sweep.step)
    if any(isinstance(bound, bool) for bound in bounds):
        raise ConfigError("range() goes from number to number, not true or false")
    start, stop, step = (Decimal(repr(bound)) for bound in bounds)
    if not all(bound.is_finite() for bound in (start, stop, step)) or step == 0:
        raise ConfigError("range() needs finite bounds and a step other than 0")
    length = math.ceil((stop - start) / step)
    if not 0 < length <= MAX_CHOICES:
        raise ConfigError(
            f"range({start}, {stop}, {step}) holds {max(length, 0)} values; "
            f"a parameter has 1 to {MAX_CHOICES}"
        )
    convert = int if all(isinstance(bound, int) for bound in bounds) else float
    return [convert(start + step * index) for index in range(length)]


def _interval(sweep: IntervalSweep) -> BaseDistribution:
    for tag in sorted(sweep.tags - _TAGS):
        raise ConfigError(f"unknown tag {tag!r}; {nearest(tag, _TAGS)}")
    low, high, is_log = sweep.start, sweep.end, "log" in sweep.tags
    assert low is not None and high is not None  # noqa: PT018, S101  # Hydra's types
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"interval({low}, {high}) must go up, between finite numbers")
    if is_log and low <= 0:
        raise ConfigError(f"interval({low}, {high}) with tag log must begin above 0")
    if not ("int" in sweep.tags or isinstance(low, int)):
        return FloatDistribution(low, high, log=is_log)
    if low % 1 or high % 1:
        raise ConfigError(f"interval({low}, {high}) of whole numbers has other bounds")
    return IntDistribution(int(low), int(high), log=is_log)


# ---- the search space of a file


def read_parameters(
    experiment: Experiment, groups: Mapping[str, Sequence[str]]
) -> tuple[Parameter, ...]:
    """Return the parameters of all spaces in the order of the file, variants last.

    For several spaces the first parameter is the choice of a space.

    Raises:
        ExperimentError: a part of the space is not a parameter, with its line.
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

    Hydra plans the same syntax for its own grammar.
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
    """Split a text at the commas outside brackets and quotes."""
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
    """Return the condition on `parameters` that a text describes.

    Raises:
        ConfigError: the text is not a condition, or names an unknown parameter.
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
    """Check that a key can be swept.

    Raises:
        ConfigError: the key is not valid, a setting of Hydra itself, a deletion, or
            the seed.
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
        ExperimentError: the text is not an override, or must not be set here.
    """
    try:
        override = grammar.parse_override(text)
        key: str = override.key_or_group
        if override.is_sweep_override():
            raise ConfigError(f"{text!r} is a sweep; write it under search_space")
        if key.startswith(HYDRA_SWEEPER):
            raise ConfigError(
                f"{text!r}: Hydra's own sweeper and launcher do not run here; remove "
                f"it; {HYDRA_ADVICE}"
            )
        if key == "seed":
            raise ConfigError(f"{text!r}: each trial's seed is set from seeds: [42]")
    except ConfigError as error:
        dotted = ".".join(map(str, location[:-1]))
        raise experiment.error(location, f"{dotted}: {error}") from error
    return key


def check_overrides(experiment: Experiment, swept: Collection[str]) -> None:
    """Check that the search space replaces no override of all trials.

    Raises:
        ExperimentError: an override sets a key of `swept`, or is not valid.
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

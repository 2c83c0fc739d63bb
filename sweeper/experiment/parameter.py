"""A parameter of a search space: its values, and the overrides that they stand for."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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

from sweeper.experiment.conditions import Condition
from sweeper.experiment.yaml_lines import Location
from sweeper.protocol import Params, Value
from sweeper.system import grammar
from sweeper.system.errors import ConfigError, nearest

SPACE = "#"  # the choice between the spaces of a list
MAX_CHOICES = 10_000
SHOWN = 12  # choices in a message
_TAGS = {"int", "log"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A choice that sets one key, or several keys at once.

    Variants and zips set several: each of their choices has a recipe. A parameter
    with a condition is a part of some points only.

    Attributes:
        name: the config key or group that it sets; `variant`, or the name of a zip.
        is_group: whether its values are options of a config group.
        texts: each choice with its text in Hydra's grammar; empty for an interval.
        recipes: the overrides of each choice of a variant or a zip; else empty.
        when: the condition on a point to have it, None if each point has it.
        space: index of its space in a list of spaces, None if all have it.
        study_name: its name in the studies of samplers. Parameters with equal values
            in several spaces share one, so that samplers learn of them together.
        location: of its values in the file.
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
        """Return whether a point of the values so far has it; it must be certain.

        Raises:
            ConfigError: its condition compares or divides values that do not allow it.
        """
        if self.space is not None and point.get(SPACE) != self.space:
            return False
        return self.when is None or self.when.holds(point, unknown=False)

    @property
    def signature(self) -> tuple[object, ...]:
        """A tuple that is equal for parameters of one name and the same values.

        Optuna's distributions do not compare integers beyond the floats.
        """
        values = self.texts.values() or [repr(self.distribution)]
        return (self.name, *values, *self.recipes.values())

    @property
    def keys(self) -> tuple[str, ...]:
        """The config keys that it sets, and its own name."""
        recipe = next(iter(self.recipes.values()), ())
        return (self.name, *(word.partition("=")[0] for word in recipe))

    @property
    def shapes_config(self) -> bool:
        """Whether a choice may change which keys the config has."""
        return self.is_group or bool(self.recipes)

    @property
    def choices(self) -> tuple[Value, ...]:
        """Its values in the file's order; () for an interval."""
        return tuple(self.texts)

    def canonical(self, value: object) -> Value:
        """Return the one spelling of a value: 1.0 and 1 are one point.

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
        """The ends of an interval."""
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)  # noqa: S101
        return self.distribution.low, self.distribution.high

    @property
    def domain(self) -> str:
        """Its values, for a message."""
        if not self.texts:
            return "{} to {}".format(*self.bounds)
        shown = ", ".join(map(str, self.choices[:SHOWN]))
        return shown + (", ..." if len(self.texts) > SHOWN else "")

    @property
    def first(self) -> Value:
        """The first choice, or the interval's lower end."""
        return self.choices[0] if self.texts else self.bounds[0]

    def override(self, value: Value) -> str:
        """Return the override that sets a value, even one that the file has lost."""
        text = self.texts.get(value)
        return f"{self.name}={grammar.to_text(value) if text is None else text}"


def from_values(name: str, values: Sequence[object], *, is_group: bool) -> Parameter:
    """Return the parameter of some values; Hydra's text stands for lists and dicts.

    Raises:
        ConfigError: no value, too many, two equal ones, or not an option of a group.
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
    """Return the parameter whose choices set several keys each."""
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
    """Return the values that a text of the sweep grammar stands for.

    Args:
        key: config key or group that is swept.
        text: the right side of `key=` on Hydra's command line.
        options: of the config group, for glob; empty for a key.
        seed: of the order after `shuffle`.

    Raises:
        ConfigError: it is not of the grammar, or has no value.

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
    """Return exact values: 0.1 + 0.2 is 0.3, while Hydra adds binary fractions."""
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

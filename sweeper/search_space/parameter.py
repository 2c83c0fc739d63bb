"""One dimension of a search space: its values, and how Hydra spells them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from sweeper.definition.yaml_marks import Location
from sweeper.errors import ConfigError
from sweeper.search_space import grammar
from sweeper.search_space.grammar import Interval
from sweeper.search_space.where import Where
from sweeper.trial import Params, Value

SHOWN = 12  # choices in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One dimension of the space.

    Attributes:
        name: what a Hydra override of it starts with, or `variant`.
        is_group: whether its values are options of a config group.
        texts: each choice with its text in Hydra's grammar; empty for an interval.
        recipes: the overrides that each choice stands for, of a variant or a zip;
            empty where a choice is the value of the key `name`.
        when: the condition on a point to have it, None for none.
        place: where its values stand in the file.
    """

    name: str
    distribution: BaseDistribution
    is_group: bool = False
    texts: Mapping[Value, str] = field(default_factory=dict)
    recipes: Mapping[Value, tuple[str, ...]] = field(default_factory=dict)
    when: Where | None = None
    place: Location = field(default=("search_space",), compare=False)

    def is_in(self, point: Params) -> bool:
        """Whether a point of these values has it; a condition must hold for sure.

        Raises:
            ConfigError: its condition compares or divides what cannot be.
        """
        return self.when is None or self.when.holds(point, unknown=False)

    @property
    def signature(self) -> tuple[object, ...]:
        """Equal for parameters of one name and the same values.

        Optuna's distributions do not compare integers beyond the floats.
        """
        if self.texts:
            return (self.name, *self.texts.values(), *self.recipes.values())
        found = self.distribution
        assert isinstance(found, IntDistribution | FloatDistribution)  # noqa: S101
        return (self.name, type(found), found.low, found.high, found.log)

    @property
    def shapes_config(self) -> bool:
        """Whether a choice may change which keys the config has."""
        return self.is_group or bool(self.recipes)

    @property
    def choices(self) -> tuple[Value, ...]:
        """Its values in the file's order; () for an interval."""
        return tuple(self.texts)

    def canonical(self, value: object) -> Value:
        """The one spelling of a value: 1.0 and 1 are one point.

        Raises:
            ConfigError: the parameter does not have this value.
        """
        found = self._choice(value) if self.texts else self._number(value)
        if found is None and not (value is None and None in self.texts):
            raise ConfigError(f"{value!r} is no value of {self.name!r}: {self.domain}")
        return found

    def _choice(self, value: object) -> Value:
        """The choice that equals a value; a list or dict is known by its text."""
        given = (
            grammar.to_text(value) if isinstance(value, list | tuple | dict) else value
        )
        if self.is_group and type(given) is int:
            given = str(given)
        for choice in self.texts:
            if choice == given and isinstance(choice, bool) == isinstance(given, bool):
                return choice
        return None

    def _number(self, value: object) -> Value:
        distribution = self.distribution
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if isinstance(distribution, IntDistribution):
            is_inside = distribution.low <= value <= distribution.high
            return int(value) if is_inside and value % 1 == 0 else None
        assert isinstance(distribution, FloatDistribution)  # noqa: S101  # of `make`
        return float(value) if distribution.low <= value <= distribution.high else None

    @property
    def domain(self) -> str:
        """What it may be, for a message."""
        if isinstance(self.distribution, IntDistribution | FloatDistribution):
            return f"{self.distribution.low} to {self.distribution.high}"
        shown = ", ".join(map(str, self.choices[:SHOWN]))
        return shown + (", ..." if len(self.texts) > SHOWN else "")

    @property
    def first(self) -> Value:
        """The first choice, or the interval's lower end."""
        if isinstance(self.distribution, IntDistribution | FloatDistribution):
            return self.distribution.low
        return self.choices[0]

    def override(self, value: Value) -> str:
        """The Hydra override that sets a value; also one that the file has lost."""
        text = self.texts.get(value)
        return f"{self.name}={grammar.to_text(value) if text is None else text}"


def from_interval(name: str, interval: Interval) -> Parameter:
    """The parameter of all numbers of an interval."""
    distribution: BaseDistribution = (
        IntDistribution(int(interval.low), int(interval.high), log=interval.is_log)
        if interval.is_int
        else FloatDistribution(interval.low, interval.high, log=interval.is_log)
    )
    return Parameter(name=name, distribution=distribution)


def from_choices(name: str, values: Sequence[object], *, is_group: bool) -> Parameter:
    """The parameter of some values; lists and dicts stand as Hydra's text of them.

    Raises:
        ConfigError: none, too many, twice the same, or no option of a group.
    """
    if not 0 < len(values) <= grammar.MAX_CHOICES:
        raise ConfigError(
            f"{len(values)} values for {name!r}; it has 1 to {grammar.MAX_CHOICES}"
        )
    texts: dict[Value, str] = {}
    for value, text in _spelled(name, values, is_group=is_group):
        if value in texts:  # 1, 1.0 and true are one to Python, and so to Optuna
            raise ConfigError(
                f"{name!r} lists {text}, which equals {texts[value]}; remove one"
            )
        texts[value] = text
    return Parameter(
        name=name,
        distribution=CategoricalDistribution(tuple(texts)),
        is_group=is_group,
        texts=texts,
    )


def _spelled(
    name: str, values: Sequence[object], *, is_group: bool
) -> Iterator[tuple[Value, str]]:
    for given in values:
        value = str(given) if is_group and type(given) is int else given
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{value!r} of {name!r} is no finite number")
        text = grammar.to_text(value)
        if isinstance(value, list | tuple | dict):
            yield text, text
            continue
        if is_group and not isinstance(value, str):
            raise ConfigError(
                f"{text} is no option of the group {name!r}; put a name in quotes"
            )
        assert value is None or isinstance(value, bool | int | float | str)  # noqa: S101
        yield value, text

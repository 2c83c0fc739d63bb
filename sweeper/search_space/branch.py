"""One space of a list: its parameters, of which some exist only where others say so.

It knows points of its own only; that two spaces share one is for `space`.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sweeper.errors import ConfigError, nearest
from sweeper.search_space.parameter import Parameter
from sweeper.trial import Params, Value

Choose: TypeAlias = Callable[[Parameter], Sequence[Value]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """The parameters of one space, in the file's order; `variant` last.

    A parameter with a condition reads only those before it.
    """

    parameters: tuple[Parameter, ...]

    @property
    def is_conditional(self) -> bool:
        """Whether its points differ in which parameters they have."""
        return any(parameter.when is not None for parameter in self.parameters)

    def walk(self, choose: Choose) -> Iterator[dict[str, Value]]:
        """Every point of the values that `choose` names; the last one changes fastest.

        Raises:
            ConfigError: a condition compares or divides what cannot be.
        """
        if not self.is_conditional:
            names = [parameter.name for parameter in self.parameters]
            for values in itertools.product(*map(choose, self.parameters)):
                yield dict(zip(names, values, strict=True))
            return
        points: Iterator[dict[str, Value]] = iter([{}])
        for parameter in self.parameters:
            points = _extended(points, parameter, choose)
        yield from points

    def canonical(
        self, params: Mapping[str, object], *, is_filled: bool = False
    ) -> dict[str, Value]:
        """The one spelling of a point of this space.

        Args:
            is_filled: whether a parameter of one value may be left out.

        Raises:
            ConfigError: a value is not in the space, a parameter is missing or unknown,
                or is no part of this point.
        """
        names = [parameter.name for parameter in self.parameters]
        for name in params:
            if name not in names:
                raise ConfigError(f"no parameter {name!r}; {nearest(name, names)}")
        found: dict[str, Value] = {}
        missing: list[str] = []
        for parameter in self.parameters:
            name, when = parameter.name, parameter.when
            if when is not None and not missing and not parameter.is_in(found):
                if name in params:
                    raise ConfigError(
                        f"{name!r} is a part of a point only where {when.text}; "
                        "leave it out"
                    )
            elif name in params:
                found[name] = parameter.canonical(params[name])
            elif is_filled and len(parameter.texts) == 1:
                found[name] = parameter.choices[0]
            else:
                missing.append(name)
        if missing:
            raise ConfigError(f"no value for {', '.join(map(repr, missing))}")
        return found

    def has(self, params: Params) -> bool:
        """Whether a point is one of this space."""
        try:
            self.canonical(params)
        except ConfigError:
            return False
        return True


def _extended(
    points: Iterator[dict[str, Value]], parameter: Parameter, choose: Choose
) -> Iterator[dict[str, Value]]:
    for point in points:
        if not parameter.is_in(point):
            yield point
            continue
        for value in choose(parameter):
            yield {**point, parameter.name: value}

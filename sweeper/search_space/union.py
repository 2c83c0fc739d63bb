"""The spaces of a list as one: a point of several of them is one point.

It knows what samplers call each parameter, and nothing of `where` or of the file.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, CategoricalDistribution

from sweeper.errors import ConfigError
from sweeper.search_space.branch import Branch, Choose
from sweeper.search_space.parameter import Parameter
from sweeper.trial import Params, Value

BRANCH = "#"  # what samplers call the choice of a space of a list
MAX_POINTS = 100_000  # of a grid, before `where`


@dataclass(frozen=True, slots=True, kw_only=True)
class Union:
    """Some spaces; mostly one.

    Attributes:
        branches: the spaces in the file's order; a point belongs to its first one.
    """

    branches: tuple[Branch, ...]

    @property
    def is_conditional(self) -> bool:
        """Whether points differ in which parameters they have."""
        return len(self.branches) != 1 or self.branches[0].is_conditional

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter of every space, equal ones once."""
        found: dict[tuple[object, ...], Parameter] = {}
        for branch in self.branches:
            for parameter in branch.parameters:
                when = parameter.when.text if parameter.when else ""
                found.setdefault((when, *parameter.signature), parameter)
        return tuple(found.values())

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """What samplers draw from, by the names that they know."""
        found: dict[str, BaseDistribution] = {}
        if len(self.branches) > 1:
            indices = tuple(range(len(self.branches)))
            found[BRANCH] = CategoricalDistribution(indices)
        for index, branch in enumerate(self.branches):
            for parameter in branch.parameters:
                name = self.inner_name(index, parameter)
                found[name] = parameter.distribution
        return found

    def inner_name(self, index: int, parameter: Parameter) -> str:
        """What samplers call a parameter of the space `index`.

        Spaces share what they learn of it, if it has the same values in each.
        """
        is_shared = all(
            other.signature == parameter.signature
            for branch in self.branches
            for other in branch.parameters
            if other.name == parameter.name
        )
        return parameter.name if is_shared else f"{index}{BRANCH}{parameter.name}"

    def inner(
        self, params: Params
    ) -> tuple[dict[str, Value], dict[str, BaseDistribution]]:
        """A point of this space as samplers know it."""
        if not self.is_conditional:
            return dict(params), self.distributions
        index, branch = self._branch_of(params)
        known = {p.name: p for p in branch.parameters}
        names = {name: self.inner_name(index, known[name]) for name in params}
        values = {names[name]: value for name, value in params.items()}
        if len(self.branches) > 1:
            values[BRANCH] = index
        everything = self.distributions
        return values, {name: everything[name] for name in values}

    def distributions_of(self, params: Params) -> dict[str, BaseDistribution]:
        """The distribution of each parameter of a point of this space."""
        _, branch = self._branch_of(params)
        return {p.name: p.distribution for p in branch.parameters if p.name in params}

    def _branch_of(self, params: Params) -> tuple[int, Branch]:
        if len(self.branches) == 1:
            return 0, self.branches[0]
        found = enumerate(self.branches)
        return next(pair for pair in found if pair[1].has(params))

    def total(self) -> int | None:
        """How many points there are before `where`; None for an end of them unknown."""
        if not self.is_conditional:
            return math.prod(len(p.texts) for p in self.branches[0].parameters)
        points = self.walk(lambda parameter: parameter.choices)
        counted = sum(1 for _ in itertools.islice(points, MAX_POINTS + 1))
        return counted if counted <= MAX_POINTS else None

    def walk(self, choose: Choose) -> Iterator[dict[str, Value]]:
        """Every point of the values that `choose` names; equal ones of two spaces once.

        Raises:
            ConfigError: a condition compares or divides what cannot be.
        """
        seen: set[frozenset[tuple[str, Value]]] = set()
        for branch in self.branches:
            for point in branch.walk(choose):
                if len(self.branches) > 1:
                    key = frozenset(point.items())
                    if key in seen:
                        continue
                    seen.add(key)
                yield point

    def canonical(
        self, params: Mapping[str, object], *, is_filled: bool = False
    ) -> dict[str, Value]:
        """The one spelling of a point: equal points become equal dicts.

        Args:
            is_filled: whether a parameter of one value may be left out.

        Raises:
            ConfigError: a value is not in the space, a parameter is missing or unknown.
        """
        errors = []
        for branch in self.branches:
            try:
                return branch.canonical(params, is_filled=is_filled)
            except ConfigError as error:
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        told = "; ".join(f"{place}: {error}" for place, error in enumerate(errors, 1))
        raise ConfigError(f"{dict(params)} is in no space of the list: {told}")

"""Whether the keys and options that an experiment names exist in the configs.

It composes to find out, once per choice of groups, and blames one line.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeper.definition import validation
from sweeper.definition.assignments import COMMAND_LINE
from sweeper.definition.experiment import Experiment
from sweeper.definition.yaml_marks import Location
from sweeper.errors import ConfigError, ExperimentError, nearest
from sweeper.project.config_keys import exists, hint
from sweeper.search_space import grammar
from sweeper.search_space.parameter import Parameter
from sweeper.search_space.space import VARIANT, Space
from sweeper.trial import Params

MAX_COMPOSED = 24  # choices of groups; beyond, each option once
MAX_TRIED = 100  # values of one parameter


class Composes(Protocol):
    """What checking needs of a `Composer`."""

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Config groups with their options."""

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config of these overrides."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One override and the place of the file that asks for it."""

    location: Location
    text: str

    @property
    def key(self) -> str:
        key: str = grammar.parse_override(self.text).key_or_group
        return key


def check(composer: Composes, experiment: Experiment, space: Space) -> None:
    """Refuse keys and options that the config does not have.

    Raises:
        ExperimentError: at the line of the first one, with the nearest known key.
        ConfigError: the config does not even compose alone.
    """
    _check_options(composer, experiment, space)
    points = representatives(space)
    seen: set[str] = set()
    for point in points:
        entries = _entries(experiment, space, point)
        try:
            config = composer.compose([entry.text for entry in entries])
        except ConfigError as error:
            composer.compose([])  # it is the config's own fault, or a word's
            blame = _Blame(composer, experiment, space, points)
            raise blame.error(entries, point, error) from error
        if not seen.issuperset(point):
            new = [
                p for p in space.parameters if p.name in point and p.name not in seen
            ]
            _check_values(config, experiment, new)
            seen.update(point)


def _check_options(composer: Composes, experiment: Experiment, space: Space) -> None:
    """Every option of a swept group exists, even one that `where` never lets in."""
    for parameter in space.parameters:
        if not parameter.is_group:
            continue
        group = _group(parameter.name)
        options = composer.groups().get(group, ())
        for index, choice in enumerate(parameter.choices):
            is_plain = parameter.texts[choice] != choice or str(choice)[:1] not in "[{"
            if is_plain and choice not in options:
                raise experiment.error(
                    (*parameter.place, index),
                    f"search_space: {_no_option(group, choice, options)}",
                )


def _group(key: str) -> str:
    return key.lstrip("+").partition("@")[0]


def _no_option(group: str, choice: object, options: Sequence[str]) -> str:
    known = nearest(str(choice), options)
    return f"group {group!r} has no option {choice!r}; {known}"


def representatives(space: Space) -> list[Params]:
    """A point for each choice of groups and variant, as far as `where` allows it."""
    names = [p.name for p in space.parameters if p.shapes_config]
    found: dict[tuple[object, ...], Params] = {}
    if space.where is not None and space.size is not None:
        points: Iterator[Params] = space.points()
    else:
        points = _crossed(space, names)
    for point in points:
        choice = [point.get(name) for name in names]
        found.setdefault((frozenset(point), *choice), point)
    if len(found) <= MAX_COMPOSED:
        return list(found.values())
    seen: set[tuple[int, object]] = set()
    kept = []
    for values, point in found.items():
        if not seen.issuperset(enumerate(values)):
            seen.update(enumerate(values))
            kept.append(point)
    return kept


def _crossed(space: Space, names: Sequence[str]) -> Iterator[Params]:
    """Every choice of `names` and of what conditions read, with the first of others."""
    crossed = set(names).union(*(p.when.names for p in space.parameters if p.when))
    is_decided = space.where is not None and space.where.names <= set(names)
    for point in space.walk(
        lambda p: p.choices or (p.first,) if p.name in crossed else (p.first,)
    ):
        if not is_decided or space.allows(point):
            yield point


def _entries(experiment: Experiment, space: Space, point: Params) -> list[_Entry]:
    """The overrides of a point with their places, in the order that Hydra gets them."""
    entries = [
        _Entry(("overrides", index), text)
        for index, text in enumerate(experiment.overrides)
    ]
    for parameter in space.parameters:
        if parameter.name not in point:
            continue
        value = point[parameter.name]
        if parameter.name == VARIANT:
            recipe = experiment.variants[str(value)]
            entries += [
                _Entry(("variants", str(value), index), text)
                for index, text in enumerate(recipe)
            ]
        elif parameter.recipes:
            place = parameter.place
            entries += [_Entry(place, text) for text in parameter.recipes[value]]
        else:
            entries.append(_Entry(parameter.place, parameter.override(value)))
    return entries


def _check_values(
    config: DictConfig, experiment: Experiment, parameters: Sequence[Parameter]
) -> None:
    """Every value fits its key: the type of a structured config, a list or mapping."""
    scratch = copy.deepcopy(config)
    for parameter in parameters:
        if parameter.shapes_config:
            continue
        for index, choice in enumerate(parameter.choices[:MAX_TRIED]):
            override = grammar.parse_override(parameter.override(choice))
            key, value = override.key_or_group, override.value()
            is_add = override.is_add() or override.is_force_add()
            is_container = isinstance(value, list | dict)  # merged into what is there
            target = copy.deepcopy(config) if is_container else scratch
            try:
                OmegaConf.update(target, key, value, merge=True, force_add=is_add)
            except OmegaConfBaseException as error:
                message = str(error).splitlines()[0]
                raise experiment.error(
                    (*parameter.place, index),
                    f"search_space: {key}: {choice!r}: {message}",
                ) from error


@dataclass(frozen=True, slots=True)
class _Blame:
    """Finds which override makes a composition fail, and says what is wrong."""

    composer: Composes
    experiment: Experiment
    space: Space
    points: Sequence[Params]

    def error(
        self, entries: Sequence[_Entry], point: Params, reason: ConfigError
    ) -> ExperimentError:
        """The error at the line of the first override that cannot be composed."""
        groups = self.composer.groups()
        ordered = sorted(entries, key=lambda entry: entry.key not in groups)
        good, bad = 0, len(ordered)  # prefixes of these lengths compose, and fail
        while bad - good > 1:
            middle = (good + bad) // 2
            if self._composed(ordered[:middle]) is None:
                bad = middle
            else:
                good = middle
        culprit = ordered[bad - 1]
        is_variant = culprit.location[0] == "variants"
        place = ".".join(map(str, culprit.location[: 1 + is_variant]))
        message = self._explain(culprit, ordered[: bad - 1], point, reason)
        return self.experiment.error(culprit.location, f"{place}: {message}")

    def _composed(self, entries: Sequence[_Entry]) -> Mapping[str, object] | None:
        try:
            config = self.composer.compose([entry.text for entry in entries])
        except ConfigError:
            return None
        plain = OmegaConf.to_container(config, resolve=False)
        assert isinstance(plain, dict)  # noqa: S101  # of a DictConfig
        return {str(key): value for key, value in plain.items()}

    def _explain(
        self,
        culprit: _Entry,
        before: Sequence[_Entry],
        point: Params,
        reason: ConfigError,
    ) -> str:
        override = grammar.parse_override(culprit.text)
        key, groups = culprit.key, self.composer.groups()
        if key in groups:
            value = override.value()
            if isinstance(value, str) and value not in groups[key]:
                return _no_option(key, value, groups[key])
            return f"{culprit.text!r}: {reason}"
        config = self._composed(before)
        is_add = override.is_add() or override.is_force_add()
        if config is None or is_add or exists(config, key):
            return f"{culprit.text!r}: {reason}"
        here = self._choice(point)
        for other in self.points if culprit.location[0] == "search_space" else ():
            there = self._choice(other)
            if there != here and self._has(key, other):
                return (
                    f"no key {key!r} with {', '.join(here)}, though there is with "
                    f"{', '.join(there)}; exclude such points by where:, or set it in "
                    "variants"
                )
        extra = [*groups]
        if self.experiment.lines.get(culprit.location) == COMMAND_LINE:
            extra += validation.keys(Experiment)
        advice = hint({**dict.fromkeys(extra), **config}, key)
        return f"the config has no key {key!r}; {advice} ('+{key}' would add it)"

    def _choice(self, point: Params) -> list[str]:
        swept = [p for p in self.space.parameters if p.shapes_config]
        return [f"{p.name}={point[p.name]}" for p in swept if p.name in point]

    def _has(self, key: str, point: Params) -> bool:
        """Whether a key exists under another choice of groups."""
        groups = self.composer.groups()
        entries = _entries(self.experiment, self.space, point)
        config = self._composed([entry for entry in entries if entry.key in groups])
        return config is not None and exists(config, key)

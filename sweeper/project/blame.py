"""Which override of an experiment makes a composition fail, and why."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from omegaconf import DictConfig, OmegaConf

from sweeper.errors import ConfigError, ExperimentError, nearest
from sweeper.experiment import grammar, hydra_sweeper, validation
from sweeper.experiment.assignments import COMMAND_LINE
from sweeper.experiment.experiment import Experiment
from sweeper.experiment.space import Space
from sweeper.experiment.yaml_lines import Location
from sweeper.project.config_keys import exists, hint
from sweeper.trial import Params

_MANDATORY = re.compile("You must specify '([^']+)'")  # Hydra's words for `???`


class Composes(Protocol):
    """What checking needs of a `Composer`."""

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Config groups with their options."""

    def has_option(self, group: str, option: str) -> bool:
        """Whether a group has an option."""

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config of these overrides."""

    def compose_with_hydra(self, overrides: Sequence[str]) -> DictConfig:
        """The same with Hydra's own node."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One override and the place of the file that asks for it."""

    location: Location
    text: str

    @property
    def key(self) -> str:
        """The key or group that it sets, without its package."""
        key: str = grammar.parse_override(self.text).key_or_group
        return key

    def chooses(self, group: str) -> bool:
        """Whether it is a choice of a group, which may have a package."""
        return bool(group) and group in (
            self.key,
            grammar.parse_override(self.text).get_key_element().lstrip("+"),
        )


def entries_of(experiment: Experiment, space: Space, point: Params) -> list[Entry]:
    """The overrides of a point with their places, in the order that Hydra gets them."""
    entries = [
        Entry(("overrides", index), text)
        for index, text in enumerate(experiment.overrides)
    ]
    for parameter in space.parameters_of(point):
        if parameter.name not in point:
            continue
        value = point[parameter.name]
        if parameter.recipes:
            place = (*parameter.place, str(value))
            recipe = enumerate(parameter.recipes[value])
            entries += [Entry((*place, index), text) for index, text in recipe]
        else:
            entries.append(Entry(parameter.place, parameter.override(value)))
    return entries


def no_option(composer: Composes, group: str, choice: object) -> str:
    """Say that a group lacks an option, with the nearest ones."""
    known = nearest(str(choice), list(_nested(composer.groups(), group)))
    return f"group {group!r} has no option {choice!r}; {known}"


def _nested(groups: Mapping[str, Sequence[str]], group: str) -> Iterator[str]:
    """The options of a group, those of the groups inside of it as `inner/option`."""
    for name, options in groups.items():
        if name == group or name.startswith(f"{group}/"):
            prefix = f"{name}/".removeprefix(f"{group}/")
            yield from (f"{prefix}{option}" for option in options)


def missing(composer: Composes, words: Sequence[str]) -> str:
    """Return the group whose choice these overrides leave open (`???`), "" for none."""
    try:
        composer.compose(words)
    except ConfigError as error:
        found = _MANDATORY.search(str(error))
        return found.group(1) if found else ""
    return ""


@dataclass(frozen=True, slots=True)
class Blame:
    """Finds which override makes a composition fail, and says what is wrong."""

    composer: Composes
    experiment: Experiment
    space: Space
    points: Sequence[Params]

    def error(
        self, entries: Sequence[Entry], point: Params, reason: ConfigError
    ) -> ExperimentError:
        """The error at the line of the first override that cannot be composed.

        Raises:
            ConfigError: the config does not compose without any override either.
        """
        groups = self.composer.groups()
        needed = self._needed(entries)
        rest = [entry for entry in entries if entry not in needed]
        ordered = needed + sorted(rest, key=lambda entry: entry.key not in groups)
        # Prefixes of these lengths compose, and fail.
        good, bad = len(needed), len(ordered)
        if self._composed(needed) is None:
            good, bad = len(needed) - 1, len(needed)
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

    def _needed(self, entries: Sequence[Entry]) -> list[Entry]:
        """The choices of groups without which the config does not compose (`???`).

        Raises:
            ExperimentError: one of them is nowhere made.
            ConfigError: it does not compose with them either.
        """
        needed: list[Entry] = []
        while group := missing(self.composer, [e.text for e in needed]):
            rest = [e for e in entries if e not in needed]
            more = [entry for entry in reversed(rest) if entry.chooses(group)]
            more += [entry for entry in rest if entry.key in self.composer.groups()]
            if not more:
                raise self.experiment.error(
                    ("config",),
                    f"config: the choice of {group!r} is left open (???); choose an "
                    "option under overrides:, or sweep it under search_space:",
                )
            needed.append(more[0])
        if not needed:
            self.composer.compose([])  # it is the config's own fault
        return needed

    def _composed(self, entries: Sequence[Entry]) -> Mapping[str, object] | None:
        try:
            config = self.composer.compose([entry.text for entry in entries])
        except ConfigError:
            return None
        plain = OmegaConf.to_container(config, resolve=False)
        assert isinstance(plain, dict)  # noqa: S101  # of a DictConfig
        return {str(key): value for key, value in plain.items()}

    def _explain(
        self,
        culprit: Entry,
        before: Sequence[Entry],
        point: Params,
        reason: ConfigError,
    ) -> str:
        override = grammar.parse_override(culprit.text)
        if any(key in str(reason) for key in ("SweeperConf", *hydra_sweeper.OWN)):
            return (
                f"{culprit.text!r}: is for Hydra's own sweeper, which does not run "
                f"here; remove it; {hydra_sweeper.NEXT} ({reason})"
            )
        key, groups = culprit.key, self.composer.groups()
        if key in groups:
            value = override.value()
            if isinstance(value, str) and not self.composer.has_option(key, value):
                return no_option(self.composer, key, value)
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
        entries = entries_of(self.experiment, self.space, point)
        config = self._composed([entry for entry in entries if entry.key in groups])
        return config is not None and exists(config, key)

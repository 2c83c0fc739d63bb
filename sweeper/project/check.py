"""Checks that a project's configs have the keys and options of an experiment.

They compose once per choice of groups. An error names the line of one override.
"""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sweeper.experiment import hydra_sweeper, validation
from sweeper.experiment.assignments import COMMAND_LINE
from sweeper.experiment.experiment import Experiment
from sweeper.experiment.parameter import Parameter
from sweeper.experiment.space import VARIANT, Space
from sweeper.experiment.yaml_lines import Location
from sweeper.project.points import representatives
from sweeper.protocol import Params
from sweeper.system import grammar
from sweeper.system.errors import ConfigError, ExperimentError, nearest
from sweeper.trial.compose import Composer, open_choice
from sweeper.trial.config_keys import exists, hint

MAX_TRIED = 100  # values of one parameter
EITHER = {"precision"}  # keys of Lightning that take numbers and words alike
ANY_NUMBER = {"auto"}  # words that Lightning and others take for a number


@dataclass(frozen=True, slots=True)
class Entry:
    """An override and its location in the experiment file."""

    location: Location
    text: str

    @property
    def key(self) -> str:
        """The key or group that it sets, without its package."""
        key: str = grammar.parse_override(self.text).key_or_group
        return key

    def chooses(self, group: str) -> bool:
        """Return whether it is a choice of a group, which may have a package."""
        override = grammar.parse_override(self.text)
        return group in (self.key, override.get_key_element().lstrip("+"))

    @property
    def place(self) -> str:
        """The dotted key of the file that holds it."""
        return ".".join(map(str, self.location[: 1 + (self.location[0] == "variants")]))


def check(composer: Composer, experiment: Experiment, space: Space) -> None:
    """Refuse keys, options and values that do not fit the config.

    Raises:
        ExperimentError: at the line of the first one, with the nearest known key.
        ConfigError: the config does not even compose alone.
    """
    _check_options(composer, experiment, space)
    points = representatives(space)
    checked: set[str] = set()
    for point in points:
        entries = _entries(experiment, space, point)
        words = [entry.text for entry in entries]
        try:
            composer.plain(words)
        except ConfigError as reason:
            blame = _Blame(composer, experiment, space, points)
            raise blame.error(entries, point, reason) from reason
        new = [p for p in space.parameters if p.name in point and p.name not in checked]
        _check_values(composer, words, experiment, new)
        checked.update(point)
    _check_sweeper_params(composer, experiment, space.overrides(points[0]))
    _check_words(composer, experiment, space)


def _entries(experiment: Experiment, space: Space, point: Params) -> list[Entry]:
    """Return the overrides of a point in the order in which Hydra gets them."""
    entries = [
        Entry(("overrides", index), text)
        for index, text in enumerate(experiment.overrides)
    ]
    for parameter in space.parameters_of(point):
        if parameter.name not in point:
            continue
        value = point[parameter.name]
        if parameter.recipes:
            place = (*parameter.location, str(value))
            recipe = enumerate(parameter.recipes[value])
            entries += [Entry((*place, index), text) for index, text in recipe]
        else:
            entries.append(Entry(parameter.location, parameter.override(value)))
    return entries


def _check_options(composer: Composer, experiment: Experiment, space: Space) -> None:
    """Refuse a swept option that does not exist, even one that `where` excludes."""
    for parameter in space.parameters:
        group = parameter.name.lstrip("+").partition("@")[0]
        for index, choice in enumerate(parameter.choices if parameter.is_group else ()):
            is_plain = parameter.texts[choice] != choice or str(choice)[:1] not in "[{"
            error = _option_error(composer, group, str(choice)) if is_plain else ""
            if error:
                location = (*parameter.location, index)
                raise experiment.error(location, f"search_space: {error}")


def _option_error(composer: Composer, group: str, option: str) -> str:
    """Return the error of an option that a group lacks, "" if it has the option.

    An option may be in a group inside of it.
    """
    names = [
        f"{f'{name}/'.removeprefix(f'{group}/')}{inner}"
        for name, options in composer.groups().items()
        if name == group or name.startswith(f"{group}/")
        for inner in options
    ]
    outer, _, last = posixpath.normpath(f"{group}/{option}").rpartition("/")
    if last.removesuffix(".yaml") in composer.groups().get(outer, ()):
        return ""
    return f"group {group!r} has no option {option!r}; {nearest(option, names)}"


def _check_values(
    composer: Composer,
    words: Sequence[str],
    experiment: Experiment,
    parameters: Sequence[Parameter],
) -> None:
    """Refuse a value that does not fit its key: another type, a list for a number."""
    for parameter in parameters:
        if parameter.shapes_config:
            continue
        choices = parameter.choices[:MAX_TRIED]
        reasons = composer.misfits(words, [parameter.override(c) for c in choices])
        for index, reason in enumerate(reasons):
            if reason:
                key = parameter.name.lstrip("+")
                raise experiment.error(
                    (*parameter.location, index),
                    f"search_space: {key}: {choices[index]!r}: {reason}",
                )


def _check_sweeper_params(
    composer: Composer, experiment: Experiment, point: Sequence[str]
) -> None:
    """Refuse an override that brings parameters for Hydra's own sweeper.

    Those of the config itself are ignored, as in any run of one job.
    """
    words = experiment.overrides
    params = composer.sweeper_params([*words, *point]) if words else {}
    for index, word in enumerate(words if params else ()):
        others = [other for other in words if other != word]
        try:
            without = composer.sweeper_params([*others, *point])
        except ConfigError:  # other overrides need this one
            continue
        if params != without:
            raise experiment.error(
                ("overrides", index),
                f"overrides: {word!r}: is for Hydra's own sweeper, which does not run "
                f"here: its params {', '.join(params)} would have no effect; remove "
                f"it; {hydra_sweeper.NEXT}",
            )


def _check_words(composer: Composer, experiment: Experiment, space: Space) -> None:
    """Refuse a word that is listed among numbers for a key that holds a number.

    It is most often a typing error, 1e-3x for 1e-3, which only its trial would meet.
    """
    words = [word for p in space.parameters for word in _words_among_numbers(p)]
    shape = {p.name for p in space.parameters if p.is_group or p.name == VARIANT}
    for point in representatives(space) if words else ():
        chosen = space.overrides({n: point[n] for n in point if n in shape})
        keys = [key for key, _, _ in words]
        numbers = composer.values([*experiment.overrides, *chosen], keys)
        for key, location, word in words:
            if _is_number(numbers[key]):
                raise experiment.error(
                    location,
                    f"search_space: {key}: {word!r} is listed among numbers, and the "
                    f"config has the number {numbers[key]} there; write a number, or "
                    "set the word in variants if it is meant",
                )


def _words_among_numbers(
    parameter: Parameter,
) -> Iterator[tuple[str, Location, object]]:
    """Yield each such word of a parameter with its key and its location."""
    columns: dict[str, list[object]] = {}
    if parameter.is_group or parameter.name == VARIANT:
        return
    texts = [(f"{parameter.name}={text}",) for text in parameter.texts.values()]
    for recipe in parameter.recipes.values() or texts:
        for override in map(grammar.parse_override, recipe):
            value = grammar.plain(override.value())
            columns.setdefault(override.key_or_group, []).append(value)
    for key, values in columns.items():
        is_either = key.rpartition(".")[2] in EITHER
        # With null, a list or a mapping, the types differ on purpose.
        if is_either or any(isinstance(v, list | dict | None) for v in values):
            continue
        for index, value in enumerate(values if any(map(_is_number, values)) else ()):
            is_word = isinstance(value, str) and "${" not in value
            if isinstance(value, bool) or (is_word and value not in ANY_NUMBER):
                yield key, (*parameter.location, index), value


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


@dataclass(frozen=True, slots=True)
class _Blame:
    """The search for the override that makes a composition fail."""

    composer: Composer
    experiment: Experiment
    space: Space
    points: Sequence[Params]

    def error(
        self, entries: Sequence[Entry], point: Params, reason: ConfigError
    ) -> ExperimentError:
        """Return the error at the line of the first override that does not compose.

        Raises:
            ConfigError: the config does not compose without any override either.
        """
        groups = self.composer.groups()
        for entry in entries:
            option = grammar.parse_override(entry.text).value()
            if entry.key in groups and isinstance(option, str):
                message = _option_error(self.composer, entry.key, option)
                if message:
                    return self._at(entry, message)
        config = self._config([])
        first = self._needed(entries)
        rest = [entry for entry in entries if entry not in first]
        words: list[str] = []
        for entry in [*first, *sorted(rest, key=lambda entry: entry.key not in groups)]:
            words.append(entry.text)
            try:
                config = self._config(words)
            except ConfigError as error:
                return self._at(entry, self._explain(entry, config, point, error))
        group = open_choice(reason)
        if not group:
            raise reason
        return self.experiment.error(
            ("config",),
            f"config: the choice of {group!r} is left open (???); choose an "
            "option under overrides:, or sweep it under search_space:",
        )

    def _needed(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the choices without which no config composes (`???`)."""
        needed: list[Entry] = []
        while group := self.composer.open_choice([entry.text for entry in needed]):
            rest = [entry for entry in reversed(entries) if entry not in needed]
            choice = next((entry for entry in rest if entry.chooses(group)), None)
            if choice is None:  # an option of another group may make it
                break
            needed.append(choice)
        return needed

    def _config(self, words: Sequence[str]) -> Mapping[str, object]:
        """Return the config; {} if it lacks a choice that a later override may make."""
        try:
            return self.composer.plain(words)
        except ConfigError as error:
            if open_choice(error):
                return {}
            raise

    def _at(self, entry: Entry, message: str) -> ExperimentError:
        return self.experiment.error(entry.location, f"{entry.place}: {message}")

    def _explain(
        self,
        entry: Entry,
        config: Mapping[str, object],
        point: Params,
        reason: ConfigError,
    ) -> str:
        """Return why an override cannot be added to a config."""
        if any(key in str(reason) for key in ("SweeperConf", *hydra_sweeper.OWN)):
            return (
                f"{entry.text!r}: is for Hydra's own sweeper, which does not run "
                f"here; remove it; {hydra_sweeper.NEXT} ({reason})"
            )
        key, groups = entry.key, self.composer.groups()
        override = grammar.parse_override(entry.text)
        is_add = override.is_add() or override.is_force_add()
        if key in groups or not config or is_add or exists(config, key):
            return f"{entry.text!r}: {reason}"
        here = self._choice(point)
        for other in self.points if entry.location[0] == "search_space" else ():
            there = self._choice(other)
            if there != here and self._has(key, other):
                return (
                    f"no key {key!r} with {', '.join(here)}, though there is with "
                    f"{', '.join(there)}; exclude such points by where:, or set it in "
                    "variants"
                )
        extra = [*groups]
        if self.experiment.lines.get(entry.location) == COMMAND_LINE:
            extra += validation.keys(Experiment)
        advice = hint({**dict.fromkeys(extra), **config}, key)
        return f"the config has no key {key!r}; {advice} ('+{key}' would add it)"

    def _choice(self, point: Params) -> list[str]:
        swept = [p for p in self.space.parameters if p.shapes_config]
        return [f"{p.name}={point[p.name]}" for p in swept if p.name in point]

    def _has(self, key: str, point: Params) -> bool:
        """Return whether a key exists under another choice of groups."""
        groups = self.composer.groups()
        entries = _entries(self.experiment, self.space, point)
        try:
            words = [entry.text for entry in entries if entry.key in groups]
            return exists(self.composer.plain(words), key)
        except ConfigError:
            return False

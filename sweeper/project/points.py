"""Configs of the points of a search space, and the check that their keys exist.

Hydra composes a config once per choice of groups. All other values are set in plain
containers, which takes 0.25 ms per point.
"""

import atexit
import contextlib
import functools
import json
import posixpath
import socket
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sweeper.experiment.definition import (
    COMMAND_LINE,
    HYDRA_ADVICE,
    HYDRA_SWEEPER,
    Experiment,
)
from sweeper.experiment.loading import keys
from sweeper.experiment.parameter import SPACE, VARIANT, Parameter
from sweeper.experiment.space import Space
from sweeper.experiment.yaml_lines import Location
from sweeper.protocol import (
    Compose,
    Composed,
    Connection,
    Params,
    ProtocolError,
    Value,
)
from sweeper.system import grammar
from sweeper.system.errors import ConfigError, ExperimentError, TargetError, nearest
from sweeper.system.process import await_end
from sweeper.trial.compose import Composer, open_choice, registers
from sweeper.trial.config_keys import exists, hint, updated

MAX_COMPOSED = 24  # choices of groups; if there are more, each option once
END_SECONDS = 2.0  # for the target's exit handlers
MAX_TRIED = 100  # checked values of one parameter
EITHER = {"precision"}  # keys of Lightning that accept numbers and words
ANY_NUMBER = {"auto"}  # words that Lightning and others accept for a number


def composer(experiment: Experiment) -> Composer:
    """Return the composer of an experiment's project; do not import its target here.

    A target that registers configs is imported in a separate process.

    Raises:
        ConfigError: the config does not exist.
        TargetError: a target that registers configs cannot be imported.
    """
    if registers(experiment.target, experiment.project):
        return RemoteComposer(experiment)
    return Composer(
        experiment.project / experiment.config,
        experiment.project,
        target=experiment.target,
        overrides=experiment.overrides,
        is_registered=True,
    )


class RemoteComposer(Composer):
    """A composer in a separate process that imports the target for its configs."""

    def __init__(self, experiment: Experiment) -> None:
        self._target, self._project = experiment.target, experiment.project
        config = experiment.project / experiment.config
        paths = (str(config), str(experiment.project))
        self._index = -1
        self._index = self._call("open", *paths, self._target, experiment.overrides)

    def _call(self, method: str, *arguments: object) -> Any:
        connection = _process(self._target, self._project)
        call = Compose(
            composer=self._index, method=method, arguments=json.dumps(arguments)
        )
        answer = None
        with contextlib.suppress(OSError, ProtocolError):
            connection.tell(call)
            answer = connection.receive()
        if not isinstance(answer, Composed):
            _process.cache_clear()
            raise TargetError(
                f"target: {self._target!r}: importing it ends the process; the module "
                "must be importable"
            )
        if answer.error:
            raise (TargetError if answer.is_target else ConfigError)(answer.error)
        return json.loads(answer.value)

    def groups(self) -> dict[str, tuple[str, ...]]:
        return {group: tuple(names) for group, names in self._call("groups").items()}

    def plain(self, overrides: Sequence[str]) -> dict[str, object]:
        return dict(self._call("plain", overrides))

    def values(
        self, overrides: Sequence[str], keys: Sequence[str]
    ) -> dict[str, object]:
        return dict(self._call("values", overrides, keys))

    def misfits(self, overrides: Sequence[str], words: Sequence[str]) -> list[str]:
        return list(self._call("misfits", overrides, words))

    def sweeper_params(self, overrides: Sequence[str]) -> dict[str, str]:
        return dict(self._call("sweeper_params", overrides))


@functools.cache
def _process(target: str, project: Path) -> Connection:
    """Start the process that composes for a target; it ends with this process."""
    ours, its = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sweeper.trial.compose", str(its.fileno())],
        pass_fds=[its.fileno()],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    its.close()
    connection = Connection(ours)

    def end() -> None:
        connection.close()
        await_end(process, seconds=END_SECONDS)  # it may be importing still

    atexit.register(end)
    return connection


def configs(
    composer: Composer, experiment: Experiment, space: Space, points: Iterable[Params]
) -> Iterator[tuple[Params, dict[str, object]]]:
    """Yield each point with its config in plain containers, interpolations unresolved.

    Configs share containers, so they must not be changed.

    Raises:
        ConfigError: Hydra cannot compose a choice of groups.
    """
    names = {p.name for p in space.parameters if p.shapes_config}
    variants = {
        name: {grammar.parse_override(word).key_or_group for word in recipe}
        for name, recipe in experiment.variants.items()
    }
    containers = _containers(space)
    bases: dict[tuple[object, ...], dict[str, object]] = {}
    for params in points:
        choice = {name: params[name] for name in params if name in names}
        key = tuple(choice.items())
        if key not in bases:
            words = [*experiment.overrides, *space.overrides(choice)]
            bases[key] = composer.plain(words)
        config = bases[key]
        fixed = variants.get(str(choice.get(VARIANT)), ())
        for name, value in params.items():
            dotted = name.lstrip("+")
            if name not in names and dotted not in fixed:
                new = containers.get((name, value), value)
                config = updated(config, dotted, new)
        yield params, config


def _containers(space: Space) -> Mapping[tuple[str, Value], object]:
    """Return the lists and mappings among the values, by parameter and text."""
    return {
        (parameter.name, choice): grammar.plain(
            grammar.parse_override(f"x={text}").value()
        )
        for parameter in space.parameters
        for choice, text in parameter.texts.items()
        if choice == text and text[:1] in ("[", "{")  # a string is in quotes
    }


def representatives(space: Space) -> list[Params]:
    """Return a point for each choice of groups and variant that `where` allows.

    If there are more than `MAX_COMPOSED` choices, each option occurs at least once.
    """
    names = [p.name for p in space.parameters if p.shapes_config]
    by_choice: dict[tuple[object, ...], Params] = {}
    if space.where is not None and space.size is not None:
        points: Iterator[Params] = space.points()
    else:
        points = _crossed(space, names)
    for point in points:
        choice = [point.get(name) for name in names]
        by_choice.setdefault((frozenset(point), *choice), point)
    if len(by_choice) <= MAX_COMPOSED:
        return list(by_choice.values())
    seen: set[tuple[int, object]] = set()
    chosen = []
    for values, point in by_choice.items():
        if not seen.issuperset(enumerate(values)):
            seen.update(enumerate(values))
            chosen.append(point)
    return chosen


def _crossed(space: Space, names: Sequence[str]) -> Iterator[Params]:
    """Yield a point for every choice of `names`, of spaces and of conditions."""
    conditions = [p.when.names for p in space.parameters if p.when]
    crossed = {SPACE, *names}.union(*conditions)
    is_decided = space.where is not None and space.where.names <= set(names)
    for point in space.walk(
        lambda p: p.choices or (p.first,) if p.name in crossed else (p.first,)
    ):
        if not is_decided or space.allows(point):
            yield point


# ---- check of keys, options and values


class Override(NamedTuple):
    """An override and its location in the experiment file."""

    location: Location
    text: str

    @property
    def keys(self) -> tuple[str, str]:
        """The key or group of the override, without and with its package."""
        override = grammar.parse_override(self.text)
        return override.key_or_group, override.get_key_element().lstrip("+")


def check(composer: Composer, experiment: Experiment, space: Space) -> None:
    """Refuse keys, options and values that do not fit the config.

    Raises:
        ExperimentError: at the line of the first one, with the nearest known key.
        ConfigError: the config does not compose even without overrides.
    """
    _check_options(composer, experiment, space)
    points = representatives(space)
    checked: set[str] = set()
    for point in points:
        words = [override.text for override in _overrides(experiment, space, point)]
        try:
            composer.plain(words)
        except ConfigError as reason:
            error = _blame(composer, experiment, space, point, points)
            if error is None:
                raise
            raise error from reason
        new = [p for p in space.parameters if p.name in point and p.name not in checked]
        _check_values(composer, words, experiment, new)
        checked.update(point)
    _check_sweeper_params(composer, experiment, space.overrides(points[0]))
    _check_words(composer, experiment, space, points)


def _overrides(experiment: Experiment, space: Space, point: Params) -> list[Override]:
    """Return the overrides of a point in the order for Hydra."""
    overrides = _numbered(("overrides",), experiment.overrides)
    for parameter in space.parameters_of(point):
        if parameter.name in point:
            value = point[parameter.name]
            if parameter.recipes:
                location = (*parameter.location, str(value))
                overrides += _numbered(location, parameter.recipes[value])
            else:
                text = parameter.override(value)
                overrides.append(Override(parameter.location, text))
    return overrides


def _numbered(location: Location, texts: Sequence[str]) -> list[Override]:
    return [Override((*location, index), text) for index, text in enumerate(texts)]


def _check_options(composer: Composer, experiment: Experiment, space: Space) -> None:
    """Refuse an option that does not exist, even one that `where` excludes."""
    overrides = _numbered(("overrides",), experiment.overrides)
    for parameter in space.parameters:
        for value, recipe in parameter.recipes.items():
            overrides += _numbered((*parameter.location, str(value)), recipe)
        if parameter.is_group:
            texts = [parameter.override(choice) for choice in parameter.choices]
            overrides += _numbered(parameter.location, texts)
    for override in overrides:
        parsed = grammar.parse_override(override.text)
        group, option = parsed.key_or_group, parsed.value()
        if parsed.is_delete() or not isinstance(option, str):
            continue
        if group in composer.groups() and (
            error := _option_error(composer, group, option)
        ):
            raise _error(experiment, override, error)


def _option_error(composer: Composer, group: str, option: str) -> str:
    """Return the error of an option that a group lacks, "" if it has the option.

    An option may be in a nested group.
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
        choices = () if parameter.shapes_config else parameter.choices[:MAX_TRIED]
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
    """Refuse an override that adds parameters for Hydra's own sweeper.

    Such parameters in the config itself are ignored, as in any single run of Hydra.
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
                f"it; {HYDRA_ADVICE}",
            )


def _check_words(
    composer: Composer,
    experiment: Experiment,
    space: Space,
    points: Sequence[Params],
) -> None:
    """Refuse a word among numbers, if the config has a number at its key.

    Most often it is a typing error such as 1e-3x, which would fail only in its trial.
    """
    words = [word for p in space.parameters for word in _words_among_numbers(p)]
    shape = {p.name for p in space.parameters if p.is_group or p.name == VARIANT}
    for point in points if words else ():
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
    """Yield each word that a parameter lists among numbers: key, location, word."""
    if parameter.is_group or parameter.name == VARIANT:
        return
    texts = [(f"{parameter.name}={text}",) for text in parameter.texts.values()]
    for recipe in zip(*(parameter.recipes.values() or texts), strict=True):
        column = [grammar.parse_override(text) for text in recipe]
        key = column[0].key_or_group
        values = [grammar.plain(override.value()) for override in column]
        # With null, a list or a mapping, the types differ on purpose.
        is_mixed = any(isinstance(value, list | dict | None) for value in values)
        if is_mixed or key.rpartition(".")[2] in EITHER:
            continue
        for index, value in enumerate(values if any(map(_is_number, values)) else ()):
            is_word = isinstance(value, str) and "${" not in value
            if isinstance(value, bool) or (is_word and value not in ANY_NUMBER):
                yield key, (*parameter.location, index), value


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _blame(
    composer: Composer,
    experiment: Experiment,
    space: Space,
    point: Params,
    points: Sequence[Params],
) -> ExperimentError | None:
    """Return the error at the line of the first override that does not compose, if any.

    Overrides are added one by one, those of groups first, since groups add keys. An
    open choice (`???`) is made as soon as Hydra asks for it.

    Raises:
        ConfigError: the config does not compose even without overrides.
    """
    groups, words = composer.groups(), list[str]()
    pending = sorted(
        _overrides(experiment, space, point),
        key=lambda override: override.keys[0] not in groups,
    )
    config, open_group = _composed(composer, words)
    while pending:
        override = next((o for o in pending if open_group in o.keys), pending[0])
        pending.remove(override)
        words.append(override.text)
        try:
            config, open_group = _composed(composer, words)
        except ConfigError as error:
            reason = f"{override.text!r}: {error}"
            if any(key in reason for key in ("SweeperConf", *HYDRA_SWEEPER)):
                reason = (
                    f"{override.text!r}: is for Hydra's own sweeper, which does not "
                    f"run here; remove it; {HYDRA_ADVICE} ({error})"
                )
            elif config and _lacks(config, override, groups):
                others = [other for other in points if other is not point]
                reason = _no_key(
                    composer, experiment, space, override, config, point, others
                )
            return _error(experiment, override, reason)
    if not open_group:
        return None
    return experiment.error(
        ("config",),
        f"config: the choice of {open_group!r} is left open (???); choose an "
        "option under overrides:, or sweep it under search_space:",
    )


def _error(experiment: Experiment, override: Override, reason: str) -> ExperimentError:
    location = override.location
    section = location[: 1 + (location[0] == "variants")]
    return experiment.error(location, f"{'.'.join(map(str, section))}: {reason}")


def _composed(
    composer: Composer, words: Sequence[str]
) -> tuple[Mapping[str, object], str]:
    """Return the config, or {} and the group whose choice is open (`???`)."""
    try:
        return composer.plain(words), ""
    except ConfigError as error:
        if group := open_choice(error):
            return {}, group
        raise


def _lacks(
    config: Mapping[str, object], override: Override, groups: Collection[str]
) -> bool:
    """Return whether an override sets a key that a config does not have."""
    parsed, key = grammar.parse_override(override.text), override.keys[0]
    is_add = parsed.is_add() or parsed.is_force_add()
    return not is_add and key not in groups and not exists(config, key)


def _no_key(
    composer: Composer,
    experiment: Experiment,
    space: Space,
    override: Override,
    config: Mapping[str, object],
    point: Params,
    others: Sequence[Params],
) -> str:
    """Return the reason of a missing key: this choice of groups lacks it, or all do."""
    key, groups = override.keys[0], composer.groups()
    swept = [p.name for p in space.parameters if p.shapes_config]
    for other in others if override.location[0] == "search_space" else ():
        overrides = _overrides(experiment, space, other)
        words = [o.text for o in overrides if o.keys[0] in groups]
        with contextlib.suppress(ConfigError):
            if exists(composer.plain(words), key):
                here, there = (
                    ", ".join(f"{name}={p[name]}" for name in swept if name in p)
                    for p in (point, other)
                )
                return (
                    f"no key {key!r} with {here}, though there is with {there}; "
                    "exclude such points by where:, or set it in variants"
                )
    extra = [*groups]
    if experiment.lines.get(override.location) == COMMAND_LINE:
        extra += keys(Experiment)
    advice = hint({**dict.fromkeys(extra), **config}, key)
    return f"the config has no key {key!r}; {advice} ('+{key}' would add it)"

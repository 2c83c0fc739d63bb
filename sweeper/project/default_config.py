"""What a project's config is before any experiment: its keys, choices, alternatives."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from omegaconf import DictConfig

from sweeper.errors import ConfigError, SweeperError
from sweeper.project import blame
from sweeper.project.compose import Composer, to_plain, without_hydra


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What Hydra makes of a project's primary config, with no override but the needed.

    Attributes:
        composer: what composes it; None where Hydra cannot begin.
        config: without Hydra's own node; None where it does not compose.
        groups: config groups with their options.
        choices: the option of each group; a group may have a package
            (`optim@model.optim`).
        keys: dotted keys with their values.
        needed: choices that the config leaves open (`???`), made.
    """

    composer: Composer | None = field(default=None, compare=False)
    config: DictConfig | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, object] = field(default_factory=dict)
    needed: tuple[str, ...] = ()

    def without(self, group: str) -> tuple[str, ...]:
        """Return the needed choices but that of one group."""
        return tuple(word for word in self.needed if word.partition("=")[0] != group)

    def kin(self, group: str, *, keys: Sequence[str], most: int) -> tuple[str, ...]:
        """Return options of a group for a first sweep: its choice, then those alike.

        Alike are names of one word and a number, as resnet18 and resnet34, and options
        of one class with the same keys. Where there are none, any others.

        Args:
            keys: that every option must have, since they are swept or set.
            most: how many options at most.
        """
        first = self.choices[group]
        options = self.groups.get(group.partition("@")[0], ())
        values = {option: self._with(group, option) for option in {first, *options}}
        fit = [o for o in options if o != first and set(keys) <= values[o].keys()]
        alike = [
            option
            for option in fit
            if _stem(option) == _stem(first)
            or (
                values[option].keys() == values[first].keys()
                and _classes(values[option]) == _classes(values[first])
            )
        ]
        near = sorted(alike or fit, key=lambda option: _distance(first, option))
        return (first, *near[: most - 1])

    def _with(self, group: str, option: str) -> dict[str, object]:
        """Keys with another option of a group; {} where that does not compose."""
        assert self.composer is not None  # noqa: S101  # there are choices
        words = [*self.without(group), f"{group}={option}"]
        try:
            return dict(flat(to_plain(self.composer.compose(words))))
        except ConfigError:
            return {}


def _classes(values: Mapping[str, object]) -> list[object]:
    return [value for key, value in values.items() if key.endswith("_target_")]


def _stem(option: str) -> str:
    return re.split(r"[^a-zA-Z]", option)[0]


def _distance(first: str, option: str) -> tuple[bool, int, str]:
    """Sorts options: one word with the first one, near in number, then by name."""
    numbers = [int((re.findall(r"\d+", name) or ["0"])[0]) for name in (first, option)]
    return _stem(first) != _stem(option), abs(numbers[1] - numbers[0]), option


def compose(project: Path, config: str, target: str) -> Defaults:
    """Compose a primary config, with choices where it leaves some open (`???`).

    Where Hydra cannot compose it here, the keys are those of its file.
    """
    try:
        composer = Composer(project / config, project, target=target)
        groups = composer.groups()
    except SweeperError:
        return Defaults()
    needed: list[str] = []
    while group := blame.missing(composer, needed):
        options = groups.get(group.partition("@")[0], ())
        if not options or any(word.startswith(f"{group}=") for word in needed):
            break
        needed.append(f"{group}={options[0]}")
    for word in list(needed):  # an experiment's file may choose the others
        fewer = [other for other in needed if other != word]
        with contextlib.suppress(ConfigError):
            composer.compose(fewer)
            needed = fewer
    try:
        made = composer.compose_with_hydra(needed)
    except ConfigError:
        keys = dict(flat(_load(project / config)))
        return Defaults(
            composer=composer, groups=groups, keys=keys, needed=tuple(needed)
        )
    chosen = made.hydra.runtime.choices.items()
    choices = {k: v for k, v in chosen if isinstance(v, str) and k[:6] != "hydra/"}
    made = without_hydra(made)
    return Defaults(
        composer=composer,
        config=made,
        groups=groups,
        choices=choices,
        keys=dict(flat(to_plain(made))),
        needed=tuple(needed),
    )


def _load(path: Path) -> dict[str, object]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return data if isinstance(data, dict) else {}


def flat(node: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Return every dotted key of a config that holds no mapping, with its value."""
    for key, value in node.items():
        if key == "defaults":
            continue
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _number(value)


def _number(value: object) -> object:
    """1e-3 is a number to Hydra and a text to PyYAML."""
    if isinstance(value, str) and re.fullmatch(r"[\d.]+e-?\d+", value):
        return float(value)
    return value

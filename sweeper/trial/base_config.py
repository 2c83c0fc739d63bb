"""Configs of a sweep's trials, composed once and then changed for each trial.

Composing takes a tenth of a second of each trial. Trials of a sweep mostly differ in a
few plain values, which change nothing else in a composed config.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, open_dict, read_write

from sweeper.system.errors import ConfigError
from sweeper.trial.compose import Composer

MAX_BASES = 32  # of choices of config groups
PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A config that a trial asks for; see `Composer`."""

    config: Path
    project: Path
    target: str
    overrides: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A composed config.

    Attributes:
        files: from which it was read, with their times of change.
    """

    request: Request
    composer: Composer
    config: DictConfig
    files: Mapping[Path, int]


_bases: list[Base] = []


def prepare(request: Request) -> None:
    """Compose a config as the base of later ones, unless there is such a base.

    The target must register no configs: it is not imported here.

    Raises:
        ConfigError: the config cannot be composed without it.
    """
    if len(_bases) >= MAX_BASES or any(
        _changes(b, request) is not None for b in _bases
    ):
        return
    composer = Composer(
        request.config, request.project, target=request.target, is_registered=True
    )
    config = composer.compose_with_hydra(request.overrides)
    files = composer.files(request.overrides)
    if files and not config.hydra.job.env_copy:
        base = Base(request=request, composer=composer, config=config, files=files)
        _bases.append(base)


def take(request: Request) -> tuple[Composer, DictConfig]:
    """Return a config with Hydra's node; a base is changed if one will do.

    Raises:
        ConfigError: see `Composer`.
    """
    for base in _bases:
        changes = _changes(base, request)
        if changes is not None and _is_current(base):
            _bases.clear()  # they belong to one trial now
            try:
                values = {new.key_or_group: new.value() for _, new in changes}
                base.composer.update(base.config, values)
            except ConfigError:
                break
            _name(base.config, changes)
            return base.composer, base.config
    composer = Composer(request.config, request.project, target=request.target)
    return composer, composer.compose_with_hydra(request.overrides)


def _is_current(base: Base) -> bool:
    try:
        return all(f.stat().st_mtime_ns == at for f, at in base.files.items())
    except OSError:
        return False  # a file is gone


def _changes(base: Base, request: Request) -> list[tuple[Override, Override]] | None:
    """Return overrides that differ, before and after; None if one is not plain."""
    before, after = base.request.overrides, request.overrides
    places = (request.config, request.project, request.target)
    same = (base.request.config, base.request.project, base.request.target) == places
    if not same or len(before) != len(after):
        return None
    parser = OverridesParser.create()
    keys = [_key(word) for word in after]
    changes = []
    for key, *words in zip(keys, before, after, strict=True):
        if words[0] == words[1]:
            continue
        old, new = parser.parse_overrides(words)
        overlaps = [k for k in keys if f"{k}.".startswith(f"{key}.") or k == "hydra"]
        overlaps += [k for k in keys if k != key and f"{key}.".startswith(f"{k}.")]
        is_plain = _is_plain(old) and _is_plain(new) and old.type is new.type
        is_value = key not in base.config.hydra.runtime.choices
        if overlaps != [key] or not (is_plain and is_value and _key(words[0]) == key):
            return None
        changes.append((old, new))
    return changes


def _is_plain(override: Override) -> bool:
    """Return whether an override sets a plain value of the project's config."""
    is_own = not override.is_hydra_override() and override.package is None
    is_set = not override.is_delete() and not override.is_sweep_override()
    return is_own and is_set and isinstance(override.value(), PLAIN)


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _name(config: DictConfig, changes: list[tuple[Override, Override]]) -> None:
    """Name the overrides in Hydra's node, as Hydra does."""
    node: Any = config.hydra
    with read_write(node), open_dict(node):
        task = list(node.overrides.task)
        for old, new in changes:
            task[task.index(old.input_line)] = new.input_line
        node.overrides.task = task
        about = node.job.config.override_dirname
        lines = sorted(w for w in task if _key(w) not in about.exclude_keys)
        dirname = re.sub("[=]", about.kv_sep, about.item_sep.join(lines))
        node.job.override_dirname = dirname

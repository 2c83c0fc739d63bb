"""A trial as a job of Hydra: its config is composed and its target is called.

Composing takes a tenth of a second. Trials of a sweep mostly differ in a few plain
values, so a zygote composes a base once, which a trial's process changes for itself.
"""

import contextlib
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.system import grammar, redaction
from sweeper.system.errors import ConfigError
from sweeper.system.paths import TrialPaths, write_text
from sweeper.trial.compat import hydra as compat
from sweeper.trial.compose import Composer

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

MAX_BASES = 32  # of choices of config groups
PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The configs of a project; see `Composer`."""

    config: Path
    project: Path
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A composed config.

    Attributes:
        files: from which it was read, with their times of change.
    """

    source: Source
    overrides: tuple[str, ...]
    composer: Composer
    config: "DictConfig"
    files: Mapping[Path, int]


_bases: list[Base] = []


@dataclass(frozen=True, slots=True)
class Job:
    """A composed trial.

    Attributes:
        composed: its config with Hydra's own node.
        loader: Hydra's loader, which composed it.
    """

    composed: "DictConfig"
    loader: "ConfigLoader"

    @property
    def config(self) -> "DictConfig":
        """A copy of the config, as the target gets it."""
        from omegaconf import OmegaConf

        keys: list[Any] = [key for key in self.composed if key != "hydra"]
        config = OmegaConf.masked_copy(self.composed, keys)
        OmegaConf.set_struct(config, OmegaConf.is_struct(self.composed))
        return config

    def call(self, target: Callable[["DictConfig"], object]) -> object:
        """Return what the target returns, called as `@hydra.main` would call it.

        Hydra's callbacks are called, its job logging is set up, its files of the
        config are written without secrets, `hydra.job.chdir` is obeyed.
        """
        from hydra.core.utils import run_job
        from hydra.types import HydraContext

        callbacks = compat.callbacks(self.composed)
        about = {"config_name": self.composed.hydra.job.config_name}
        callbacks.on_run_start(config=self.composed, **about)
        ended = run_job(
            task_function=lambda config: _call(target, config),
            config=self.composed,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
            hydra_context=HydraContext(config_loader=self.loader, callbacks=callbacks),
        )
        callbacks.on_run_end(config=self.composed, job_return=ended, **about)
        with contextlib.redirect_stderr(io.StringIO()):  # it may be closed by now
            return ended.return_value  # raises what the target raised


def compose(
    source: Source, overrides: Sequence[str], *, output_dir: Path, number: int = 0
) -> Job:
    """Compose the config of a trial, as `@hydra.main` would.

    The process belongs to the trial from here on: `HydraConfig` is set,
    `hydra.job.env_set` is in the environment, `${hydra:runtime.output_dir}` is
    `output_dir`, and `${now:...}` is the time of the trial's first start, so that names
    do not change at a restart.

    Args:
        number: of the trial in its sweep, for `${hydra:job.num}`.

    Raises:
        ConfigError: with Hydra's own message, in one line.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import open_dict, read_write

    composer, composed = take(source, overrides)
    with read_write(composed.hydra), open_dict(composed.hydra):
        composed.hydra.mode = RunMode.RUN
        composed.hydra.run.dir = str(output_dir)
        composed.hydra.sweep.dir = str(TrialPaths(output_dir).multirun)
        composed.hydra.runtime.output_dir = str(output_dir)
        composed.hydra.job.num = number
        composed.hydra.job.id = output_dir.name
    _keep_now(TrialPaths(output_dir).started)
    HydraConfig.instance().set_config(composed)
    os.environ.update({k: str(v) for k, v in composed.hydra.job.env_set.items()})
    return Job(composed, composer.loader)


def _keep_now(file: Path) -> None:
    """Let `${now:...}` be the time in a file, which the first start writes."""
    from omegaconf import OmegaConf

    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, datetime.now().isoformat())
    moment = datetime.fromisoformat(file.read_text(encoding="utf-8"))
    OmegaConf.register_new_resolver("now", lambda p: moment.strftime(p), replace=True)


def _call(target: Callable[["DictConfig"], object], config: "DictConfig") -> object:
    from hydra.core.hydra_config import HydraConfig

    hydra: Any = HydraConfig.get()
    if hydra.output_subdir is not None:
        _hide_secrets(Path(hydra.runtime.output_dir, hydra.output_subdir))
    return target(config)


def _hide_secrets(folder: Path) -> None:
    """Hide the environment's secrets in the files that Hydra has just written."""
    hidden = dict.fromkeys(redaction.secrets(os.environ), redaction.HIDDEN)
    for path in folder.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        redacted = str(redaction.redacted(text, hidden))
        if redacted != text:
            write_text(path, redacted)


# ---- bases


def prepare(source: Source, overrides: Sequence[str]) -> None:
    """Compose a config as the base of later ones, unless there is such a base.

    The target must register no configs: it is not imported here.

    Raises:
        ConfigError: the config cannot be composed without it.
    """
    is_covered = any(_changes(base, source, overrides) is not None for base in _bases)
    if is_covered or len(_bases) >= MAX_BASES:
        return
    composer = Composer(
        source.config, source.project, target=source.target, is_registered=True
    )
    config = composer.compose_with_hydra(overrides)
    files = composer.files(overrides)
    if files and not config.hydra.job.env_copy:
        _bases.append(
            Base(
                source=source,
                overrides=tuple(overrides),
                composer=composer,
                config=config,
                files=files,
            )
        )


def take(source: Source, overrides: Sequence[str]) -> tuple[Composer, "DictConfig"]:
    """Return a config with Hydra's node; a base is changed if one will do.

    Raises:
        ConfigError: see `Composer`.
    """
    for base in _bases:
        changes = _changes(base, source, overrides)
        if changes is not None and _is_current(base):
            _bases.clear()  # they belong to one trial now
            try:
                values = {new.key_or_group: new.value() for _, new in changes}
                base.composer.update(base.config, values)
            except ConfigError:
                break
            _name(base.config, changes)
            return base.composer, base.config
    composer = Composer(source.config, source.project, target=source.target)
    return composer, composer.compose_with_hydra(overrides)


def _is_current(base: Base) -> bool:
    try:
        return all(f.stat().st_mtime_ns == at for f, at in base.files.items())
    except OSError:
        return False  # a file is gone


def _changes(
    base: Base, source: Source, overrides: Sequence[str]
) -> list[tuple["Override", "Override"]] | None:
    """Return overrides that differ, before and after; None if one is not plain."""
    if base.source != source or len(base.overrides) != len(overrides):
        return None
    keys = [_key(word) for word in overrides]
    changes = []
    for key, *words in zip(keys, base.overrides, overrides, strict=True):
        if words[0] == words[1]:
            continue
        old, new = map(grammar.parse_override, words)
        is_value = key not in base.config.hydra.runtime.choices
        is_plain = _is_plain(old) and _is_plain(new) and old.type is new.type
        related = [k for k in keys if _is_inside(k, key) or _is_inside(key, k)]
        is_alone = related == [key] and "hydra" not in keys
        if not (is_value and is_plain and is_alone and _key(words[0]) == key):
            return None
        changes.append((old, new))
    return changes


def _is_inside(inner: str, outer: str) -> bool:
    return f"{inner}.".startswith(f"{outer}.")


def _is_plain(override: "Override") -> bool:
    """Return whether an override sets a plain value of the project's config."""
    is_own = not override.is_hydra_override() and override.package is None
    is_set = not override.is_delete() and not override.is_sweep_override()
    return is_own and is_set and isinstance(override.value(), PLAIN)


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _name(config: "DictConfig", changes: list[tuple["Override", "Override"]]) -> None:
    """Name the overrides in Hydra's node, as Hydra does."""
    from omegaconf import open_dict, read_write

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

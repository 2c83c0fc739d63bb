"""Hydra configs of a project: composed for a point, and their groups and keys.

It goes through Hydra's own loader and leaves Hydra's global state as it was, but for
`compose_trial`, which makes the process the trial's.
"""

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from sweeper.definition.experiment import Experiment
from sweeper.definition.sources import is_program, mentions, reached, roots
from sweeper.errors import ConfigError, nearest
from sweeper.project import check, registered, targets
from sweeper.project.config_keys import updated
from sweeper.search_space import grammar
from sweeper.search_space.space import VARIANT, Space
from sweeper.trial import Params, Value

VERSION_BASE = "1.3"
REGISTERING = (  # the second one: hydra-zen
    *("ConfigStore", "add_to_hydra_store", registered.PROVIDER),
)
MAX_DEPTH = 5  # of nested groups: a config beside data must not walk the data
_NOISE = (
    *(
        "full_key:",
        "object_type=",
        "reference_type=",
        "provider=",
        "Config search path",
    ),
    *("See https://", "Set the environment variable"),
)
_FAILURES = (
    *(HydraException, OmegaConfBaseException, yaml.YAMLError),
    *(OSError, ValueError, KeyError, AssertionError, RecursionError),
)


class Composer:
    """Composes the configs of one project.

    Args:
        config: the primary config, a file, `pkg://package.conf/name`, or the name of
            a structured config that the target registers.
        project: the folder that packages are looked for in.
        target: imported where the configs need what it registers.

    Raises:
        ConfigError: there is no such config.
    """

    def __init__(
        self, config: Path, project: Path, *, job_name: str = "app", target: str = ""
    ) -> None:
        if target and mentions(reached(target, project), *REGISTERING):
            targets.register(target, project)
            if is_program(target) and _is_missing(config):
                targets.run_to_hydra(target, project)
        folder, self._name = _locate(config, project)
        self._config = config
        version.setbase(VERSION_BASE)
        loader = ConfigLoaderImpl(config_search_path=create_config_search_path(folder))
        self._hydra = Hydra(task_name=job_name, config_loader=loader)
        self._groups: dict[str, tuple[str, ...]] | None = None
        registered.check(ConfigStore.instance().repo, loader.get_sources())

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Every config group, nested ones as `outer/inner`, with its options."""
        if self._groups is None:
            self._groups = {}
            self._collect("", 1, self._groups)
        return self._groups

    def _collect(
        self, parent: str, depth: int, found: dict[str, tuple[str, ...]]
    ) -> None:
        loader = self._hydra.config_loader
        for name in loader.list_groups(parent):
            group = f"{parent}/{name}" if parent else name
            if group == "hydra" or name.startswith((".", "__")):
                continue
            options = loader.get_group_options(group, ObjectType.CONFIG)
            if options:
                found[group] = tuple(options)
            if depth < MAX_DEPTH:
                self._collect(group, depth + 1, found)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config of these overrides, interpolations unresolved.

        Raises:
            ConfigError: with Hydra's own message, in one line.
        """
        return _without_hydra(self.compose_with_hydra(overrides))

    def compose_with_hydra(self, overrides: Sequence[str]) -> DictConfig:
        """The same with Hydra's own node, as `HydraConfig` takes it."""
        try:
            return self._hydra.compose_config(
                self._name, list(overrides), run_mode=RunMode.RUN, from_shell=False
            )
        except _FAILURES as error:
            raise ConfigError(f"{self._config}: {one_line(error)}") from error

    def check(self, experiment: Experiment, space: Space) -> None:
        """Refuse keys and options that the config does not have.

        Raises:
            ExperimentError: at the line of the first one, with the nearest known key.
            ConfigError: the config does not even compose alone.
        """
        check.check(self, experiment, space)

    def configs(
        self, experiment: Experiment, space: Space, points: Iterable[Params]
    ) -> Iterator[tuple[Params, dict[str, object]]]:
        """The config of each point as plain containers, interpolations unresolved.

        Composes once per choice of groups; configs share what they have in common, so
        they must not be changed.

        Raises:
            ConfigError: Hydra cannot compose a choice of groups.
        """
        names = {p.name for p in space.parameters if p.shapes_config}
        bases: dict[tuple[object, ...], dict[str, object]] = {}
        values = _Values(space)
        for params in points:
            choice = {name: params[name] for name in params if name in names}
            key = tuple(choice.items())
            if key not in bases:
                words = [*experiment.overrides, *space.overrides(choice)]
                bases[key] = to_plain(self.compose(words))
            config = bases[key]
            fixed = values.fixed_by(choice.get(VARIANT))
            for name, value in params.items():
                dotted = name.lstrip("+")
                if name not in names and dotted not in fixed:
                    config = updated(config, dotted, values.of(name, value))
            yield params, config


class _Values:
    """What a parameter's value is in a config: text of a list is a list there."""

    def __init__(self, space: Space) -> None:
        self._variants = {
            name: {grammar.parse_override(word).key_or_group for word in recipe}
            for name, recipe in space.experiment.variants.items()
        }
        self._containers: dict[tuple[str, Value], object] = {
            (parameter.name, choice): grammar.plain(
                grammar.parse_override(f"x={text}").value()
            )
            for parameter in space.parameters
            for choice, text in parameter.texts.items()
            if choice == text and text[:1] in ("[", "{")  # a string is in quotes
        }

    def fixed_by(self, variant: object) -> set[str]:
        """Keys that a variant sets, whatever else is swept."""
        return self._variants.get(str(variant), set())

    def of(self, name: str, value: Value) -> object:
        """The value that a config gets."""
        return self._containers.get((name, value), value)


def compose_trial(
    config: Path,
    overrides: Sequence[str],
    *,
    output_dir: Path,
    job_name: str,
    project: Path | None = None,
    target: str = "",
) -> DictConfig:
    """The config that a trial's target is called with, as `@hydra.main` would make it.

    The process is the trial's from here: `HydraConfig` is set, `hydra.job.env_set` is
    in the environment, and `${hydra:runtime.output_dir}` is `output_dir`.

    Raises:
        ConfigError: with Hydra's own message, in one line.
    """
    composer = Composer(config, project or Path.cwd(), job_name=job_name, target=target)
    composed = composer.compose_with_hydra(overrides)
    with read_write(composed.hydra), open_dict(composed.hydra):
        composed.hydra.mode = RunMode.RUN
        composed.hydra.run.dir = str(output_dir)
        composed.hydra.runtime.output_dir = str(output_dir)
        composed.hydra.job.num = 0
        composed.hydra.job.id = output_dir.name
    HydraConfig.instance().set_config(composed)
    os.environ.update({k: str(v) for k, v in composed.hydra.job.env_set.items()})
    return _without_hydra(copy.deepcopy(composed))


def to_plain(config: DictConfig) -> dict[str, object]:
    """A config as plain containers, interpolations unresolved."""
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)  # noqa: S101  # of a DictConfig
    return {str(key): value for key, value in plain.items()}


def to_resolved(config: DictConfig) -> dict[str, object]:
    """A config as plain containers, interpolations resolved where they can be.

    What the project never reads need not resolve: a variable that is not set here, a
    value that is known at run time only. Its text stays.
    """
    try:
        resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException:
        resolved = _resolved(config)
    assert isinstance(resolved, dict)  # noqa: S101  # of a DictConfig
    return {str(key): value for key, value in resolved.items()}


def _resolved(node: object) -> object:
    if not isinstance(node, DictConfig | ListConfig):
        return node
    texts: Any = OmegaConf.to_container(node, resolve=False)
    found = {}
    for key in range(len(node)) if isinstance(node, ListConfig) else list(node):
        try:
            found[key] = _resolved(node[key])
        except OmegaConfBaseException:
            found[key] = texts[key]
    return list(found.values()) if isinstance(node, ListConfig) else found


def one_line(error: BaseException) -> str:
    """Hydra's message without its boilerplate, with the reason that it hides."""
    lines = [line.strip() for line in str(error).splitlines()]
    if isinstance(error, HydraException) and error.__cause__ is not None:
        lines += [line.strip() for line in str(error.__cause__).splitlines()]
    if isinstance(error, OverrideParseException):
        lines.insert(0, f"override {error.override!r}")
    kept = dict.fromkeys(li for li in lines if li and not li.startswith(_NOISE))
    return "; ".join(kept) or type(error).__name__


def _without_hydra(config: DictConfig) -> DictConfig:
    with read_write(config), open_dict(config):
        del config["hydra"]
    return config


def _locate(config: Path, project: Path) -> tuple[str | None, str]:
    """Hydra's search path, if it has one, and the name of the primary config in it."""
    _, is_package, rest = config.as_posix().partition("pkg:/")
    if is_package:
        package, _, name = rest.strip("/").rpartition("/")
        folders = [root / package.replace(".", "/") for root in roots(project)]
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder is None:
            return f"pkg://{package}", name
        config = folder / name
    if not config.is_file() and config.suffix not in (".yaml", ".yml"):
        config = config.with_name(f"{config.name}.yaml")
    if not config.is_file() and _is_registered(config.stem):
        return str(config.parent) if config.parent != project else None, config.stem
    if not config.is_file():
        beside = sorted(path.name for path in config.parent.glob("*.yaml"))
        raise ConfigError(
            f"{config}: no such Hydra config; {nearest(config.name, beside)}; set "
            "config: to the project's primary config"
        )
    return str(config.parent.absolute()), config.stem


def _is_missing(config: Path) -> bool:
    """Whether a primary config is neither a file nor registered."""
    files = (config, config.with_name(f"{config.name}.yaml"))
    is_there = "pkg:/" in config.as_posix() or any(file.is_file() for file in files)
    return not is_there and not _is_registered(config.stem)


def _is_registered(name: str) -> bool:
    """Whether Hydra's ConfigStore has a primary config of that name."""
    return f"{name}.yaml" in ConfigStore.instance().repo

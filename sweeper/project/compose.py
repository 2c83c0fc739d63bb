"""Hydra configs of a project: composed for a point, and their groups and keys.

It goes through Hydra's own loader and leaves Hydra's global state as it was.
"""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.utils import JobRuntime, setup_globals
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from sweeper.errors import ConfigError
from sweeper.experiment import grammar
from sweeper.experiment.experiment import Experiment
from sweeper.experiment.space import VARIANT, Space
from sweeper.host.sources import entry, is_program, mentions, reached
from sweeper.project import check, primary, registered, targets
from sweeper.project.config_keys import updated
from sweeper.trial import Params, Value

log = logging.getLogger(__name__)

SEARCH_PATH = "hydra.searchpath="
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


_warned: set[str] = set()  # warnings of Hydra that this process has shown


def _is_imported(target: str, project: Path) -> bool:
    """Tell whether this process has imported the module of a target."""
    module = sys.modules.get(target.partition(":")[0])
    file = entry(target, project)
    return module is not None and file is not None and module.__file__ == str(file)


class Composer:
    """Composes the configs of one project.

    Args:
        config: the primary config, a file, `pkg://package.conf/name`, or the name of
            a structured config that the target registers.
        project: the folder that packages are looked for in.
        target: says how Hydra begins; imported where the configs need what it
            registers.
        overrides: of every trial; `hydra.searchpath` may add groups.
        is_registered: the target has nothing left to register.

    Raises:
        ConfigError: there is no such config.
    """

    def __init__(
        self,
        config: Path,
        project: Path,
        *,
        target: str = "",
        overrides: Sequence[str] = (),
        is_registered: bool = False,
    ) -> None:
        # What a trial has imported is registered; looking at all files takes seconds.
        is_known = is_registered or _is_imported(target, project)
        is_new = bool(target) and not is_known
        if is_new and mentions(reached(target, project), *REGISTERING):
            targets.register(target, project)
            if is_program(target) and primary.is_missing(config):
                targets.run_to_hydra(target, project)
        self._config, self._project = config, project
        self._primary = primary.locate(config, project, target)
        search_path = create_config_search_path(self._primary.folder)
        if self._primary.config_dir:
            search_path.prepend(
                provider="command-line",
                path=f"file://{self._primary.config_dir}",
                anchor=SearchPathQuery(provider="schema"),
            )
        self.loader = ConfigLoaderImpl(config_search_path=search_path)
        self._task = primary.task_name(target) if target else "app"
        self._searchpath = [w for w in overrides if w.startswith(SEARCH_PATH)]
        self._groups: dict[str, tuple[str, ...]] | None = None
        registered.check(ConfigStore.instance().repo, self.loader.get_sources())

    @classmethod
    def of(cls, experiment: Experiment) -> "Composer":
        """Return the composer of an experiment's project.

        Raises:
            ConfigError: there is no such config.
        """
        return cls(
            experiment.project / experiment.config,
            experiment.project,
            target=experiment.target,
            overrides=experiment.overrides,
        )

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Every config group, nested ones as `outer/inner`, with its options.

        A group that holds groups only has no options.

        Raises:
            ConfigError: the primary config cannot be read.
        """
        if self._groups is None:
            groups: dict[str, tuple[str, ...]] = {}
            with self._as_hydra():
                self._collect("", 1, groups)
            self._groups = groups
        return self._groups

    def _collect(
        self, parent: str, depth: int, found: dict[str, tuple[str, ...]]
    ) -> bool:
        """Add the groups in one; whether there are any."""
        has_options = False
        for name in self._options(parent, ObjectType.GROUP):
            group = f"{parent}/{name}" if parent else name
            if group == "hydra" or name.startswith((".", "__")):
                continue
            found[group] = tuple(self._options(group, ObjectType.CONFIG))
            is_deep = depth < MAX_DEPTH and self._collect(group, depth + 1, found)
            if not found[group] and not is_deep:
                del found[group]
            has_options |= group in found
        return has_options

    def _options(self, group: str, kind: ObjectType) -> list[str]:
        return self.loader.get_group_options(
            group, kind, self._primary.name, self._searchpath
        )

    def has_option(self, group: str, option: str) -> bool:
        """Whether a group has an option, which may be in a group inside of it."""
        inner, _, name = os.path.normpath(f"{group}/{option}").rpartition("/")
        return name.removesuffix(".yaml") in self.groups().get(inner, ())

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config of these overrides, interpolations unresolved.

        Raises:
            ConfigError: with Hydra's own message, in one line.
        """
        return without_hydra(self.compose_with_hydra(overrides))

    def compose_with_hydra(self, overrides: Sequence[str]) -> DictConfig:
        """The same with Hydra's own node, as `HydraConfig` takes it."""
        words = [*self._primary.words, *overrides]
        with self._as_hydra():
            return self.loader.load_configuration(
                self._primary.name, words, run_mode=RunMode.RUN, from_shell=False
            )

    def files(self, overrides: Sequence[str]) -> dict[Path, int]:
        """Return the files of a config with their times of change in nanoseconds.

        It is empty if a config is not in a file, such as in a package.
        """
        words = [*self._primary.words, *overrides]
        with self._as_hydra():
            defaults = self.loader.compute_defaults_list(
                self._primary.name, words, RunMode.RUN
            )
        files = {}
        for name in {d.config_path for d in defaults.defaults if d.config_path}:
            sources = self.loader.get_sources()
            source = next((s for s in sources if s.is_config(name)), None)
            is_fixed = source is not None and (
                source.provider == "hydra" or source.scheme() == "structured"
            )
            if is_fixed:
                continue
            if source is None or source.scheme() != "file":
                return {}
            file = Path(source.path, f"{name.removesuffix('.yaml')}.yaml")
            files[file] = file.stat().st_mtime_ns
        return files

    def update(self, config: DictConfig, values: Mapping[str, object]) -> None:
        """Set values in a composed config as Hydra sets those of overrides.

        Raises:
            ConfigError: a key does not exist, or its value is of another type.
        """
        with self._as_hydra():
            for key, value in values.items():
                OmegaConf.update(config, key, value, merge=True)

    @contextlib.contextmanager
    def _as_hydra(self) -> Iterator[None]:
        """Be what Hydra would be in: the project's folder, its version's defaults.

        A warning of Hydra is shown once, however many configs are composed.
        """
        setup_globals()
        JobRuntime().set("name", self._task)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            version.setbase(self._primary.version_base)
            caught.clear()  # of the version; the project's own main says it, too
            try:
                with contextlib.chdir(self._project):
                    yield
            except _FAILURES as error:
                raise ConfigError(f"{self._config}: {one_line(error)}") from error
        for warning in caught:
            if str(warning.message) not in _warned:
                _warned.add(str(warning.message))
                log.warning("%s", " ".join(str(warning.message).split()))

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


def without_hydra(config: DictConfig) -> DictConfig:
    """The config without the node that is Hydra's own, in place."""
    with read_write(config), open_dict(config):
        del config["hydra"]
    return config


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

"""A project's Hydra configs, composed in the interpreter that has the project.

The rest of sweeper works on its plain answers: groups, keys, containers and texts.
"""

import contextlib
import copy
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import hydra
import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException, OverrideParseException
from hydra.plugins.config_source import ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from sweeper.system.entry_points import PACKAGE, task_name
from sweeper.system.errors import ConfigError
from sweeper.system.sources import entry, is_program, mentions, reached
from sweeper.trial import importing, primary
from sweeper.trial.config_keys import SEED

log = logging.getLogger(__name__)

SEARCH_PATH = "hydra.searchpath="
REGISTERED = "sweeper.vision.register"  # provider of the configs that it makes
# Names in files that store configs at import; the second one is hydra-zen's.
REGISTERING = ("ConfigStore", "add_to_hydra_store", REGISTERED)
MAX_DEPTH = 5  # of nested groups: a config beside data must not walk the data
SEED_LIMIT = 2**32  # of NumPy's and Lightning's seeds
_OPEN = re.compile("You must specify '([^']+)'")  # Hydra's message for `???`
_NOISE = (
    *("full_key:", "object_type=", "reference_type=", "provider="),
    *("Config search path", "See https://", "Set the environment variable"),
)
_FAILURES = (
    *(HydraException, OmegaConfBaseException, yaml.YAMLError),
    *(OSError, ValueError, KeyError, AssertionError, RecursionError),
)

_warned: set[str] = set()  # warnings of Hydra that this process has shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A project's config before any experiment.

    Attributes:
        groups: config groups with their options.
        choices: the option of each group; a group may have a package
            (`optim@model.optim`).
        config: resolved as far as possible; {} if it does not compose.
        needed: choices that the config leaves open (`???`), each with an option.
    """

    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, object] = field(default_factory=dict)
    needed: tuple[str, ...] = ()


class _ConfigDir(SearchPathPlugin):
    """The `--config-dir` of a program, which Hydra's compose API lacks."""

    folder: ClassVar[str] = ""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if self.folder:
            search_path.append(provider="command-line", path=f"file://{self.folder}")


class Composer:
    """The Hydra of one project; other users of Hydra in the process keep theirs.

    Args:
        config: the primary config: a file, `pkg://package.conf/name`, or the name of
            a structured config that the target registers.
        project: folder in which packages are looked for.
        target: selects the `@hydra.main`; imported if the configs need what it
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
        # A trial's target has registered its configs; reading all files takes seconds.
        is_known = is_registered or not target or _is_imported(target, project)
        if not is_known and mentions(reached(target, project), *REGISTERING):
            importing.register(target, project)
            if is_program(target) and primary.is_missing(config):
                importing.run_to_hydra(target, project)
        self._config, self._project = config, project
        self._primary = primary.locate(config, project, target)
        self._task = task_name(target) if target else "app"
        self._searchpath = [w for w in overrides if w.startswith(SEARCH_PATH)]
        self._groups: dict[str, tuple[str, ...]] | None = None
        self._last: tuple[tuple[str, ...], DictConfig] = ((), OmegaConf.create())
        self._hydra: Any = None
        with self._as_hydra():
            self._start()
        _check_registered(ConfigStore.instance().repo, self.loader.get_sources())

    def _start(self) -> None:
        """Initialise Hydra as the project's `@hydra.main` would."""
        folder, version = self._primary.folder, self._primary.version_base
        Plugins.instance().register(_ConfigDir)
        _ConfigDir.folder = self._primary.config_dir
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the version: the main shows it itself
            if folder is None:
                hydra.initialize(config_path=None, version_base=version)
            elif folder.startswith(PACKAGE):
                package = folder.removeprefix(PACKAGE)
                hydra.initialize_config_module(package, version_base=version)
            else:
                hydra.initialize_config_dir(folder, version_base=version)
        _ConfigDir.folder = ""
        self._hydra = GlobalHydra.instance().hydra

    @contextlib.contextmanager
    def _as_hydra(self) -> Iterator[None]:
        """Have the block run with this Hydra, in the project's folder.

        A warning of Hydra is shown once, however many configs are composed.
        """
        shared = GlobalHydra.instance()
        other, shared.hydra = shared.hydra, self._hydra
        JobRuntime().set("name", self._task)
        try:
            with (
                warnings.catch_warnings(record=True) as caught,
                contextlib.chdir(self._project),
            ):
                warnings.simplefilter("always")
                yield
        except _FAILURES as error:
            raise ConfigError(f"{self._config}: {one_line(error)}") from error
        finally:
            shared.hydra = other
        for warning in caught:
            if str(warning.message) not in _warned:
                _warned.add(str(warning.message))
                log.warning("%s", " ".join(str(warning.message).split()))

    @property
    def loader(self) -> ConfigLoader:
        """Hydra's loader of this project's configs."""
        loader: ConfigLoader = self._hydra.config_loader
        return loader

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Return every config group, nested ones as `outer/inner`, with its options.

        A group that holds only groups has no options.

        Raises:
            ConfigError: the primary config cannot be read.
        """
        if self._groups is None:
            with self._as_hydra():
                self._groups = dict(self._walk("", 1))
        return self._groups

    def _walk(self, parent: str, depth: int) -> Iterator[tuple[str, tuple[str, ...]]]:
        for name in self._options(parent, ObjectType.GROUP):
            group = f"{parent}/{name}" if parent else name
            if group == "hydra" or name.startswith((".", "__")):
                continue
            options = tuple(self._options(group, ObjectType.CONFIG))
            inner = list(self._walk(group, depth + 1)) if depth < MAX_DEPTH else []
            if options or inner:
                yield group, options
            yield from inner

    def _options(self, group: str, kind: ObjectType) -> list[str]:
        return self.loader.get_group_options(
            group, kind, self._primary.name, self._searchpath
        )

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the config of these overrides, interpolations unresolved.

        Raises:
            ConfigError: with Hydra's own message, in one line.
        """
        return without_hydra(self.compose_with_hydra(overrides))

    def compose_with_hydra(self, overrides: Sequence[str]) -> DictConfig:
        """Return the config with Hydra's own node, as `HydraConfig` takes it."""
        words = [*self._primary.words, *overrides]
        with self._as_hydra():
            return hydra.compose(self._primary.name, words, return_hydra_config=True)

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

    def _composed(self, overrides: Sequence[str]) -> DictConfig:
        """Return a config that must not be changed; the last one is kept."""
        if not self._last[1] or self._last[0] != tuple(overrides):
            self._last = tuple(overrides), self.compose_with_hydra(overrides)
        return self._last[1]

    def plain(self, overrides: Sequence[str]) -> dict[str, object]:
        """Return the config as plain containers, interpolations unresolved."""
        config = to_plain(self._composed(overrides))
        del config["hydra"]
        return config

    def values(
        self, overrides: Sequence[str], keys: Sequence[str]
    ) -> dict[str, object]:
        """Return the resolved values of dotted keys; None if one has none here.

        An interpolation may refer to what only the trial's process knows.
        """
        config, values = self._composed(overrides), dict[str, object]()
        for key in keys:
            values[key] = None
            with contextlib.suppress(OmegaConfBaseException):
                value = OmegaConf.select(config, key, throw_on_missing=False)
                values[key] = None if OmegaConf.is_config(value) else value
        return values

    def seed(self, overrides: Sequence[str]) -> int | None:
        """Return the seed that a config asks for; None if that is no usable number."""
        value = self.values(overrides, [SEED])[SEED]
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        return value if type(value) is int and 0 <= value < SEED_LIMIT else None

    def misfits(self, overrides: Sequence[str], words: Sequence[str]) -> list[str]:
        """Return why each further override does not fit its key; "" if it does.

        The key may have the type of a structured config.
        """
        config = self._composed(overrides)
        scratch = copy.deepcopy(config)
        reasons = []
        for override in OverridesParser.create().parse_overrides(list(words)):
            value = override.value()
            is_merged = isinstance(value, list | dict)
            target = copy.deepcopy(config) if is_merged else scratch
            is_add = override.is_add() or override.is_force_add()
            key, reason = override.key_or_group, ""
            try:
                OmegaConf.update(target, key, value, merge=True, force_add=is_add)
            except OmegaConfBaseException as error:
                reason = str(error).splitlines()[0]
            reasons.append(reason)
        return reasons

    def sweeper_params(self, overrides: Sequence[str]) -> dict[str, str]:
        """Return `hydra.sweeper.params`, which are for Hydra's own sweeper."""
        return dict(self._composed(overrides).hydra.sweeper.get("params") or {})

    def describe(self) -> Description:
        """Return the project's config with no override but those that it needs.

        Raises:
            ConfigError: the groups cannot be read.
        """
        groups, needed = self.groups(), list[str]()
        while group := self.open_choice(needed):
            options = groups.get(group.partition("@")[0], ())
            if not options or any(word.startswith(f"{group}=") for word in needed):
                break
            needed.append(f"{group}={options[0]}")
        for word in list(needed):  # an option of another group may make the choice
            fewer = [other for other in needed if other != word]
            with contextlib.suppress(ConfigError):
                self.compose(fewer)
                needed = fewer
        try:
            config = self.compose_with_hydra(needed)
        except ConfigError:
            has_file = self._config.is_file()
            file = OmegaConf.load(self._config) if has_file else None
            keys = to_resolved(file) if isinstance(file, DictConfig) else {}
            return Description(groups=groups, config=keys, needed=tuple(needed))
        chosen = config.hydra.runtime.choices.items()
        return Description(
            groups=groups,
            choices={k: v for k, v in chosen if v and not k.startswith("hydra/")},
            config=to_resolved(without_hydra(config)),
            needed=tuple(needed),
        )

    def open_choice(self, overrides: Sequence[str]) -> str:
        """Return the group whose choice is left open (`???`), "" if none is."""
        try:
            self.compose(overrides)
        except ConfigError as error:
            return open_choice(error)
        return ""


def open_choice(error: ConfigError) -> str:
    """Return the group whose choice a config leaves open (`???`), "" if none is."""
    match = _OPEN.search(str(error))
    return match.group(1) if match else ""


def _is_imported(target: str, project: Path) -> bool:
    module = sys.modules.get(target.partition(":")[0])
    file = entry(target, project)
    return module is not None and file is not None and module.__file__ == str(file)


def _check_registered(
    nodes: Mapping[str, Any], sources: Sequence[ConfigSource], group: str = ""
) -> None:
    """Refuse a name that a registered class and a file share; Hydra takes the file."""
    for name, node in nodes.items():
        path = f"{group}/{name}".strip("/")
        if isinstance(node, Mapping):
            _check_registered(node, sources, path)
        elif node.provider == REGISTERED:
            for source in sources:
                if source.scheme() != "structured" and source.is_config(path):
                    raise ConfigError(
                        f"{group}={name.removesuffix('.yaml')}: both "
                        f"{source.path}/{path} and the class {node.node['_target_']} "
                        "have this name; rename one"
                    )


def without_hydra(config: DictConfig) -> DictConfig:
    """Remove Hydra's own node from a config; return the config."""
    with read_write(config), open_dict(config):
        del config["hydra"]
    return config


def to_plain(config: DictConfig) -> dict[str, object]:
    """Return a config as plain containers, interpolations unresolved."""
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)  # noqa: S101  # of a DictConfig
    return {str(key): value for key, value in plain.items()}


def to_resolved(config: DictConfig) -> dict[str, object]:
    """Return a config as plain containers, interpolations resolved where possible.

    A value that the project never reads need not resolve: a variable that is not set
    here, a value that is known at run time only. Its text stays.
    """
    resolved = _resolved(config)
    assert isinstance(resolved, dict)  # noqa: S101  # of a DictConfig
    return {str(key): value for key, value in resolved.items()}


def _resolved(node: object) -> object:
    if not isinstance(node, DictConfig | ListConfig):
        return node
    with contextlib.suppress(OmegaConfBaseException):
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=False)
    texts: Any = OmegaConf.to_container(node, resolve=False)
    values = {}
    for key in range(len(node)) if isinstance(node, ListConfig) else list(node):
        try:
            values[key] = _resolved(node[key])
        except OmegaConfBaseException:
            values[key] = texts[key]
    return list(values.values()) if isinstance(node, ListConfig) else values


def one_line(error: BaseException) -> str:
    """Return Hydra's message without its boilerplate, with the reason that it hides."""
    lines = [line.strip() for line in str(error).splitlines()]
    if isinstance(error, HydraException) and error.__cause__ is not None:
        lines += [line.strip() for line in str(error.__cause__).splitlines()]
    if isinstance(error, OverrideParseException):
        lines.insert(0, f"override {error.override!r}")
    unique = dict.fromkeys(li for li in lines if li and not li.startswith(_NOISE))
    return "; ".join(unique) or type(error).__name__

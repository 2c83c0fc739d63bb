"""A project's Hydra configs, composed in the interpreter that has the project.

The rest of sweeper works on its plain answers: groups, keys, containers and texts.
"""

import argparse
import ast
import contextlib
import copy
import json
import logging
import os
import re
import socket
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.protocol import Compose, Composed, Connection
from sweeper.system import grammar
from sweeper.system.errors import ConfigError, TargetError, nearest
from sweeper.system.targets import (
    PACKAGE,
    Main,
    entry,
    find_mains,
    is_program,
    mentions,
    reached,
    roots,
    split_program,
    task_name,
)
from sweeper.trial import importing
from sweeper.trial.config_keys import SEED

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.object_type import ObjectType
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

SEARCH_PATH = "hydra.searchpath="
REGISTERED = "sweeper.vision.register"  # provider of the configs that it makes
# Names in files that store configs at import; the second one is hydra-zen's.
REGISTERING = ("ConfigStore", "add_to_hydra_store", REGISTERED)
VERSION_BASE = "1.3"  # if no @hydra.main gives one
SUFFIXES = (".yaml", ".yml")
MAX_DEPTH = 5  # of nested groups: a config beside data must not walk the data
SEED_LIMIT = 2**32  # of NumPy's and Lightning's seeds
_OPEN = re.compile("You must specify '([^']+)'")  # Hydra's message for `???`
_NOISE = (
    *("full_key:", "object_type=", "reference_type=", "provider="),
    *("Config search path", "See https://", "Set the environment variable"),
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
        is_ready = is_registered or not target or _is_imported(target, project)
        if not is_ready and registers(target, project):
            importing.register(target, project)
            if is_program(target) and _is_missing(config):
                importing.run_to_hydra(target, project)
        self._config, self._project, self._target = config, project, target
        self._searchpath = [w for w in overrides if w.startswith(SEARCH_PATH)]
        self._groups: dict[str, tuple[str, ...]] | None = None
        self._last: tuple[tuple[str, ...], DictConfig | None] = ((), None)
        self._hydra: Any = None
        self._words: list[str] = []  # overrides in the program's own arguments
        self._start()
        _check_registered(self.loader)

    def _start(self) -> None:
        """Initialise Hydra as the project's `@hydra.main` and its program would."""
        import hydra
        from hydra.core.global_hydra import GlobalHydra

        main = _main(self._config, self._project, self._target)
        folder, self._name = _search_path(self._config, self._project, main)
        arguments = _arguments(self._target)
        if arguments.config_name not in (None, self._name, f"{self._name}.yaml"):
            raise ConfigError(
                f"{self._config}: the program composes {arguments.config_name!r} "
                "(--config-name); both must name one primary config; set config: to "
                "that one's file"
            )
        self._words = [w for w in arguments.overrides if "=" in w or w[:1] == "~"]
        version = (main.version_base or None) if main else VERSION_BASE
        with (
            self._as_hydra(),
            _config_dir(self._project, arguments.config_dir),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # of the version: the main shows it itself
            if folder is None:
                hydra.initialize(config_path=None, version_base=version)
            elif folder.startswith(PACKAGE):
                package = folder.removeprefix(PACKAGE)
                hydra.initialize_config_module(package, version_base=version)
            else:
                hydra.initialize_config_dir(folder, version_base=version)
            self._hydra = GlobalHydra.instance().hydra

    @contextlib.contextmanager
    def _as_hydra(self) -> Iterator[None]:
        """Have the block run with this Hydra, in the project's folder.

        A warning of Hydra is shown once, however many configs are composed.
        """
        import yaml
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.utils import JobRuntime
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        shared = GlobalHydra.instance()
        other, shared.hydra = shared.hydra, self._hydra
        JobRuntime().set("name", task_name(self._target) if self._target else "app")
        try:
            with (
                warnings.catch_warnings(record=True) as caught,
                contextlib.chdir(self._project),
            ):
                warnings.simplefilter("always")
                yield
        except (
            *(HydraException, OmegaConfBaseException, yaml.YAMLError),
            *(OSError, ValueError, KeyError, AssertionError, RecursionError),
        ) as error:
            raise ConfigError(f"{self._config}: {one_line(error)}") from error
        finally:
            shared.hydra = other
        for warning in caught:
            if str(warning.message) not in _warned:
                _warned.add(str(warning.message))
                log.warning("%s", " ".join(str(warning.message).split()))

    @property
    def loader(self) -> "ConfigLoader":
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
        from hydra.core.object_type import ObjectType

        for name in self._options(parent, ObjectType.GROUP):
            group = f"{parent}/{name}" if parent else name
            if group == "hydra" or name.startswith((".", "__")):
                continue
            options = tuple(self._options(group, ObjectType.CONFIG))
            inner = list(self._walk(group, depth + 1)) if depth < MAX_DEPTH else []
            if options or inner:
                yield group, options
            yield from inner

    def _options(self, group: str, kind: "ObjectType") -> list[str]:
        name, path = self._name, self._searchpath
        return self.loader.get_group_options(group, kind, name, path)

    def compose(self, overrides: Sequence[str]) -> "DictConfig":
        """Return the config of these overrides, interpolations unresolved.

        Raises:
            ConfigError: with Hydra's own message, in one line.
        """
        return without_hydra(self.compose_with_hydra(overrides))

    def compose_with_hydra(self, overrides: Sequence[str]) -> "DictConfig":
        """Return the config with Hydra's own node, as `HydraConfig` takes it."""
        import hydra

        words = [*self._words, *overrides]
        with self._as_hydra():
            return hydra.compose(self._name, words, return_hydra_config=True)

    def files(self, overrides: Sequence[str]) -> dict[Path, int]:
        """Return the files of a config with their times of change in nanoseconds.

        It is empty if a config is not in a file, such as in a package.
        """
        from hydra.types import RunMode

        words = [*self._words, *overrides]
        with self._as_hydra():
            defaults = self.loader.compute_defaults_list(self._name, words, RunMode.RUN)
        files = {}
        for name in {d.config_path for d in defaults.defaults if d.config_path}:
            sources = self.loader.get_sources()
            source = next((s for s in sources if s.is_config(name)), None)
            if source is None:
                return {}
            if source.scheme() == "file":
                file = Path(source.path, f"{name.removesuffix('.yaml')}.yaml")
                files[file] = file.stat().st_mtime_ns
            elif source.provider != "hydra" and source.scheme() != "structured":
                return {}
        return files

    def update(self, config: "DictConfig", values: Mapping[str, object]) -> None:
        """Set values in a composed config as Hydra sets those of overrides.

        Raises:
            ConfigError: a key does not exist, or its value is of another type.
        """
        from omegaconf import OmegaConf

        with self._as_hydra():
            for key, value in values.items():
                OmegaConf.update(config, key, value, merge=True)

    def _composed(self, overrides: Sequence[str]) -> "DictConfig":
        """Return a config that must not be changed; the last one is kept."""
        words, config = self._last
        if config is None or words != tuple(overrides):
            config = self.compose_with_hydra(overrides)
            self._last = tuple(overrides), config
        return config

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
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

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
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        config = self._composed(overrides)
        scratch = copy.deepcopy(config)
        reasons = []
        for override in map(grammar.parse_override, words):
            value, reason = override.value(), ""
            is_merged = isinstance(value, list | dict)
            is_add = override.is_add() or override.is_force_add()
            try:
                OmegaConf.update(
                    copy.deepcopy(config) if is_merged else scratch,
                    override.key_or_group,
                    value,
                    merge=True,
                    force_add=is_add,
                )
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
            keys = to_resolved(_load(self._config)) if self._config.is_file() else {}
            return Description(groups=groups, config=keys, needed=tuple(needed))
        chosen = config.hydra.runtime.choices.items()
        return Description(
            groups=groups,
            choices={k: v for k, v in chosen if v and not k.startswith("hydra/")},
            config=to_resolved(without_hydra(config)),
            needed=tuple(needed),
        )

    def open_choice(self, overrides: Sequence[str]) -> str:
        """Return the group whose choice is left open (`???`); "" without one."""
        try:
            self.compose(overrides)
        except ConfigError as error:
            return open_choice(error)
        return ""


def open_choice(error: ConfigError) -> str:
    """Return the group whose choice a config leaves open (`???`); "" without one."""
    match = _OPEN.search(str(error))
    return match.group(1) if match else ""


# ---- where Hydra starts


def _main(config: Path, project: Path, target: str) -> Main | None:
    """Return the `@hydra.main` in the target's file that starts with this config.

    Another config in its folder counts too, as with `--config-name`.
    """
    file = entry(target, project) if target else None
    if file is None:
        return None
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return None
    function = target.rpartition(":")[2]
    mains = sorted(
        find_mains({file: tree}, project),
        key=lambda main: main.target.rpartition(":")[2] != function,
    )
    path = _file(config).resolve()
    fitting = [main for main in mains if main.folder and path.parent == _home(main)]
    fitting += [main for main in mains if main.name == config.stem]
    return next(iter(fitting or mains), None)


def _home(main: Main) -> Path:
    """Return the folder of a main's own primary config."""
    return Path(main.folder, main.name).parent


def _file(config: Path) -> Path:
    if config.is_file() or config.suffix in SUFFIXES or not config.name:
        return config
    return config.with_name(f"{config.name}.yaml")


def _search_path(
    config: Path, project: Path, main: Main | None
) -> tuple[str | None, str]:
    """Return Hydra's search path, None without one, and the config's name in it.

    Raises:
        ConfigError: there is no such config.
    """
    _, is_package, rest = config.as_posix().partition("pkg:/")
    if is_package:
        package, _, name = rest.strip("/").partition("/")
        folders = [root / package.replace(".", "/") for root in roots(project)]
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder is None:
            return f"{PACKAGE}{package}", name
        file = _file(folder / name)
    else:
        file = _file(config)
        folder = _root(file, project, main)
    if file.is_file():
        if not file.is_relative_to(folder):
            file, folder = file.resolve(), folder.resolve()
        name = file.relative_to(folder).with_suffix("").as_posix()
        return str(folder.absolute()), name
    if _is_registered(config.stem):
        if main is not None and main.folder and main.name == config.stem:
            return main.folder, config.stem
        is_in_project = config.parent.absolute() == project.absolute()
        return None if is_in_project else str(config.parent.absolute()), config.stem
    beside = sorted(path.name for path in file.parent.glob("*.yaml"))
    raise ConfigError(
        f"{file}: no such Hydra config; {nearest(file.name, beside)}; set "
        "config: to the project's primary config"
    )


def _root(file: Path, project: Path, main: Main | None) -> Path:
    """Return the folder that Hydra searches.

    It is that of the main, or the one that holds the groups which the defaults list
    of a primary config in a sub-folder names from the root on, such as `/model`.
    """
    if main is not None and main.folder and file.resolve().parent == _home(main):
        return Path(main.folder)
    groups = _absolute_groups(file)
    above = [folder for folder in file.parents if folder.is_relative_to(project)]
    for folder in above if groups else ():
        if all((folder / group).is_dir() for group in groups):
            return folder
    return file.parent


def _absolute_groups(file: Path) -> list[str]:
    import yaml

    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return []
    entries = data.get("defaults") if isinstance(data, dict) else None
    keys = [
        str(key).removeprefix("override ").strip().partition("@")[0]
        for entry in (entries if isinstance(entries, list) else [])
        for key in (entry if isinstance(entry, dict) else ())
    ]
    return [k[1:] for k in keys if k[:1] == "/" and not k.startswith("/hydra")]


def _arguments(target: str) -> argparse.Namespace:
    """Return those arguments of a program that Hydra's command line knows."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("--config-dir", "-cd")
    arguments = split_program(target)[1] if target and is_program(target) else []
    return parser.parse_known_args(arguments)[0]


@contextlib.contextmanager
def _config_dir(project: Path, folder: str | None) -> Iterator[None]:
    """Have the `--config-dir` of a program, which Hydra's compose API lacks."""
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class ConfigDir(SearchPathPlugin):
        """The folder of the option, at the end of Hydra's search path."""

        def manipulate_search_path(self, search_path: "ConfigSearchPath") -> None:
            search_path.append(
                provider="command-line", path=f"file://{project / str(folder)}"
            )

    if folder is None:
        yield
        return
    plugins = Plugins.instance()
    plugins.register(ConfigDir)
    try:
        yield
    finally:
        plugins.plugin_type_to_subclass_list[SearchPathPlugin].remove(ConfigDir)


def _is_imported(target: str, project: Path) -> bool:
    module = sys.modules.get(target.partition(":")[0])
    file = entry(target, project)
    return module is not None and file is not None and module.__file__ == str(file)


def _is_missing(config: Path) -> bool:
    """Return whether a primary config is neither a file nor registered."""
    is_there = "pkg:/" in config.as_posix() or _file(config).is_file()
    return not is_there and not _is_registered(config.stem)


def _is_registered(name: str) -> bool:
    from hydra.core.config_store import ConfigStore

    return f"{name}.yaml" in ConfigStore.instance().list("")


def _check_registered(loader: "ConfigLoader") -> None:
    """Refuse a name that a registered class and a file share; Hydra takes the file."""
    from hydra.core.config_store import ConfigStore

    folders: list[tuple[str, Mapping[str, Any]]] = [("", ConfigStore.instance().repo)]
    while folders:
        group, nodes = folders.pop()
        for name, node in nodes.items():
            path = f"{group}/{name}".strip("/")
            if isinstance(node, Mapping):
                folders.append((path, node))
            elif node.provider == REGISTERED:
                for source in loader.get_sources():
                    if source.scheme() != "structured" and source.is_config(path):
                        raise ConfigError(
                            f"{group}={name.removesuffix('.yaml')}: both "
                            f"{source.path}/{path} and the class "
                            f"{node.node['_target_']} have this name; rename one"
                        )


# ---- plain containers


def without_hydra(config: "DictConfig") -> "DictConfig":
    """Remove Hydra's own node from a config; return the config."""
    from omegaconf import open_dict, read_write

    with read_write(config), open_dict(config):
        del config["hydra"]
    return config


def to_plain(config: "DictConfig") -> dict[str, object]:
    """Return a config as plain containers, interpolations unresolved."""
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)  # noqa: S101  # of a DictConfig
    return {str(key): value for key, value in plain.items()}


def to_resolved(config: "DictConfig") -> dict[str, object]:
    """Return a config as plain containers, interpolations resolved where possible.

    A value that the project never reads need not resolve: a variable that is not set
    here, a value that is known at run time only. Its text stays.
    """
    resolved = _resolved(config)
    assert isinstance(resolved, dict)  # noqa: S101  # of a DictConfig
    return {str(key): value for key, value in resolved.items()}


def _resolved(node: object) -> object:
    from omegaconf import DictConfig, ListConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

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


def _load(file: Path) -> "DictConfig":
    from omegaconf import DictConfig, OmegaConf

    config = OmegaConf.load(file)
    return config if isinstance(config, DictConfig) else OmegaConf.create({})


def one_line(error: BaseException) -> str:
    """Return Hydra's message without its boilerplate, with the reason that it hides."""
    from hydra.errors import HydraException, OverrideParseException

    lines = [line.strip() for line in str(error).splitlines()]
    if isinstance(error, HydraException) and error.__cause__ is not None:
        lines += [line.strip() for line in str(error.__cause__).splitlines()]
    if isinstance(error, OverrideParseException):
        lines.insert(0, f"override {error.override!r}")
    unique = dict.fromkeys(li for li in lines if li and not li.startswith(_NOISE))
    return "; ".join(unique) or type(error).__name__


# ---- a process that composes for the driver


def registers(target: str, project: Path) -> bool:
    """Return whether a target's files store configs when they are imported."""
    return mentions(reached(target, project), *REGISTERING)


def serve(connection: Connection) -> None:
    """Answer calls of composers until the other end closes."""
    composers: list[Composer] = []
    while isinstance(call := connection.receive(), Compose):
        arguments = json.loads(call.arguments)
        try:
            if call.method == "open":
                config, project, target, overrides = arguments
                composer = Composer(
                    Path(config), Path(project), target=target, overrides=overrides
                )
                composers.append(composer)
                value: object = len(composers) - 1
            else:
                value = getattr(composers[call.composer], call.method)(*arguments)
            answer = Composed(value=json.dumps(value, default=str))
        except (ConfigError, TargetError) as error:
            is_target = isinstance(error, TargetError)
            answer = Composed(error=str(error), is_target=is_target)
        connection.tell(answer)


if __name__ == "__main__":
    os.dup2(2, 1)  # whatever an import prints
    os.set_inheritable(int(sys.argv[1]), False)
    with contextlib.suppress(OSError):  # the driver is gone
        serve(Connection(socket.socket(fileno=int(sys.argv[1]))))

"""The primary config as Hydra finds it: its search path, its name, its defaults.

The target's source file (its `@hydra.main`) and the arguments of a program complete
the experiment file.
"""

import argparse
import ast
from dataclasses import dataclass
from pathlib import Path

import yaml
from hydra.core.config_store import ConfigStore

from sweeper.system.entry_points import PACKAGE, Main, find_mains, split_program
from sweeper.system.errors import ConfigError, nearest
from sweeper.system.sources import entry, is_program, roots

VERSION_BASE = "1.3"  # if no @hydra.main gives one
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Primary:
    """The arguments of Hydra's start.

    Attributes:
        folder: Hydra's search path; None if all configs are registered.
        name: of the primary config in it; may have slashes.
        version_base: whose defaults Hydra uses; None for those of the installed one.
        config_dir: `--config-dir`, absolute; "" without one.
        words: overrides in the program's own arguments.
    """

    folder: str | None
    name: str
    version_base: str | None = VERSION_BASE
    config_dir: str = ""
    words: tuple[str, ...] = ()


def locate(config: Path, project: Path, target: str = "") -> Primary:
    """Find a primary config.

    Args:
        config: a file, with or without its suffix, a `pkg://package/name`, or the
            name of a config that the project registers.
        target: of the experiment; "" to look at the file only.

    Raises:
        ConfigError: there is no such config, or the program names another one.
    """
    main = _main(config, project, target)
    folder, name = _folder_and_name(config, project, main)
    given = _arguments(target)
    if given.config_name is not None:
        named = str(given.config_name).removesuffix(".yaml")
        if named != name:
            raise ConfigError(
                f"{config}: the program composes {named!r} (--config-name); both must "
                "name one primary config; set config: to that one's file"
            )
    words = [word for word in given.overrides if "=" in word or word[:1] == "~"]
    return Primary(
        folder=folder,
        name=name,
        version_base=(main.version_base or None) if main else VERSION_BASE,
        config_dir=str(project / given.config_dir) if given.config_dir else "",
        words=tuple(words),
    )


def is_missing(config: Path) -> bool:
    """Return whether a primary config is neither a file nor registered."""
    is_there = "pkg:/" in config.as_posix() or _file(config).is_file()
    return not is_there and not _is_registered(config.stem)


def _arguments(target: str) -> argparse.Namespace:
    """Return those arguments of a program that Hydra's command line knows."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("--config-dir", "-cd")
    arguments = split_program(target)[1] if is_program(target) else []
    return parser.parse_known_args(arguments)[0]


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


def _folder_and_name(
    config: Path, project: Path, main: Main | None
) -> tuple[str | None, str]:
    """Return Hydra's search path, if there is one, and the config's name in it."""
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


def _is_registered(name: str) -> bool:
    return f"{name}.yaml" in ConfigStore.instance().list("")

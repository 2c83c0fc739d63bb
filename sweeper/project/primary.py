"""The primary config as Hydra finds it: its search path, its name, its defaults.

It reads the target's source file, whose `@hydra.main` says what the experiment file
does not, and the program's own command line.
"""

import argparse
import ast
import shlex
from dataclasses import dataclass
from pathlib import Path

import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore

from sweeper.errors import ConfigError, nearest
from sweeper.host.sources import entry, is_program, roots
from sweeper.project.mains import PACKAGE, Main, mains

VERSION_BASE = "1.3"  # where no @hydra.main says which
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Primary:
    """What `@hydra.main` and the command line tell Hydra.

    Attributes:
        folder: Hydra's search path; None where all configs are registered.
        name: of the primary config in it; may have slashes.
        version_base: whose defaults Hydra uses; None for those of the installed one.
        config_dir: of `--config-dir`, "" for none.
        words: overrides in the program's own command line.
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
        target: of the experiment; "" where only the file says.

    Raises:
        ConfigError: there is no such config, or the program names another one.
    """
    main = _main(config, project, target)
    folder, name = _folder_and_name(config, project, main)
    given = _arguments(target)
    if given.config_name is not None:
        asked = str(given.config_name).removesuffix(".yaml")
        if asked != name:
            raise ConfigError(
                f"{config}: the program composes {asked!r} (--config-name); both must "
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


def task_name(target: str) -> str:
    """Return Hydra's default for `hydra.job.name`.

    >>> task_name("my_project.train:main"), task_name("python scripts/fit.py --fast")
    ('train', 'fit')
    """
    if not is_program(target):
        return target.partition(":")[0].rpartition(".")[2]
    words = shlex.split(target)
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1].rpartition(".")[2]
    return next((Path(w).stem for w in words if w.endswith(".py")), Path(words[0]).stem)


def _arguments(target: str) -> argparse.Namespace:
    """The arguments of a program, read as Hydra reads them."""
    words = shlex.split(target) if is_program(target) else []
    begin = len(words)
    if "-m" in words[:-1]:
        begin = words.index("-m") + 2
    else:
        scripts = [i for i, word in enumerate(words) if word.endswith(".py")]
        begin = scripts[0] + 1 if scripts else len(words)
    parsed, _ = get_args_parser().parse_known_args(words[begin:])
    return parsed


def _main(config: Path, project: Path, target: str) -> Main | None:
    """The `@hydra.main` in the target's file that begins with this config.

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
    found = sorted(
        mains({file: tree}, project),
        key=lambda main: main.target.rpartition(":")[2] != function,
    )
    path = _file(config).resolve()
    fitting = [main for main in found if main.folder and path.parent == _home(main)]
    fitting += [main for main in found if main.name == config.stem]
    return next(iter(fitting or found), None)


def _home(main: Main) -> Path:
    """The folder of a main's own primary config."""
    return Path(main.folder, main.name).parent


def _file(config: Path) -> Path:
    if config.is_file() or config.suffix in SUFFIXES or not config.name:
        return config
    return config.with_name(f"{config.name}.yaml")


def _folder_and_name(
    config: Path, project: Path, main: Main | None
) -> tuple[str | None, str]:
    """Hydra's search path, if it has one, and the name of the primary config in it."""
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
        return str(folder.absolute()), _name(file, folder)
    if _is_registered(config.stem):
        if main is not None and main.folder and main.name == config.stem:
            return main.folder, config.stem
        return str(config.parent) if config.parent != project else None, config.stem
    beside = sorted(path.name for path in file.parent.glob("*.yaml"))
    raise ConfigError(
        f"{file}: no such Hydra config; {nearest(file.name, beside)}; set "
        "config: to the project's primary config"
    )


def _name(file: Path, folder: Path) -> str:
    if not file.is_relative_to(folder):
        file, folder = file.resolve(), folder.resolve()
    return file.relative_to(folder).with_suffix("").as_posix()


def _root(file: Path, project: Path, main: Main | None) -> Path:
    """The folder that Hydra searches: that of the main, or of the absolute groups.

    A primary config in a sub-folder names groups as `/model`, from the root on.
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
    """Groups that the defaults list of a config names from the root on."""
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
    """Whether Hydra's ConfigStore has a primary config of that name."""
    return f"{name}.yaml" in ConfigStore.instance().repo

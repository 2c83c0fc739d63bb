"""The import of a target, as `python train.py` without arguments does it.

Each trial imports the project's own modules, so it owns whatever they make at import.
Third-party modules are imported once for all trials.
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import inspect
import io
import os
import re
import runpy
import signal
import site
import sys
import sysconfig
import threading
import tomllib
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from sweeper.system.errors import TargetError, nearest
from sweeper.system.targets import entry, is_program, put_on_path, split_program

IMPORT_SECONDS = 180.0  # that an import may take

_importing = ""  # the target whose import is tried
_refused: TargetError | None = None  # what it was refused with


def load(target: str) -> Callable[[Any], object]:
    """Return the function that "module:function" names.

    Raises:
        TargetError: no such module or function.
    """
    module_name, _, name = target.partition(":")
    module = _import(target, module_name)
    function = getattr(module, name, None)
    if not callable(function):
        functions = [n for n, _ in inspect.getmembers(module, inspect.isfunction)]
        raise TargetError(
            f"target: {target!r}: {module_name} has no function {name!r}; "
            f"{nearest(name, functions)}"
        )
    loaded: Callable[[Any], object] = function
    return loaded


def _import(target: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise TargetError(
            f"target: {target!r}: cannot import {error.name!r}; the module must be "
            "importable from the project's folder (project: PATH) and its packages "
            "installed here; set target: module:function"
        ) from error


def register(target: str, project: Path) -> None:
    """Import a target for the structured configs and resolvers that it registers.

    Raises:
        TargetError: it cannot be imported.
    """
    put_on_path(project)
    try:
        with (
            contextlib.chdir(project),  # modules may look for their files at import
            as_script(target, project),
            tried(target),
            limited(target),
        ):
            if not is_program(target):
                _import(target, target.partition(":")[0])
            elif file := entry(target, project):
                _import_file(file)
    except (TargetError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the project's modules may raise anything
        raise TargetError(describe(target, project, error)) from error


def _import_file(file: Path, name: str = "sweeper_target") -> None:
    """Import a script under a name that does not start its main."""
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None  # noqa: S101  # of a .py file there is one
    assert spec.loader is not None  # noqa: S101
    sys.modules[name] = importlib.util.module_from_spec(spec)
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    spec.loader.exec_module(sys.modules[name])


def run_to_hydra(target: str, project: Path) -> None:
    """Run a program to the point at which Hydra reads the command line.

    Some programs register their configs in their main function. Hydra ends a program
    that is asked for its version as soon as it has read the command line.
    """
    file = entry(target, project)
    if file is None:
        return
    name, _ = split_program(target)
    with (
        contextlib.chdir(project),
        as_script(target, project, "--version"),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.suppress(SystemExit),
    ):
        if name.endswith(".py"):
            runpy.run_path(str(file), run_name="__main__")
        else:
            runpy.run_module(name, run_name="__main__")


@contextlib.contextmanager
def as_script(target: str, project: Path, *arguments: str) -> Iterator[None]:
    """Give the block the command line of the target's file, by default alone."""
    file = entry(target, project)
    before = sys.argv
    sys.argv = [str(file or target.partition(":")[0]), *arguments]
    try:
        yield
    finally:
        sys.argv = before


@contextlib.contextmanager
def tried(target: str) -> Iterator[None]:
    """Refuse a training within the block, which only imports the target."""
    global _importing, _refused
    _importing, _refused = target, None
    try:
        yield
    finally:
        _importing = ""


@contextlib.contextmanager
def limited(target: str) -> Iterator[None]:
    """End an import in this process that takes too long, with an error."""

    def end(*_: object) -> None:
        raise TargetError(too_long(target, IMPORT_SECONDS))

    if threading.current_thread() is not threading.main_thread():
        yield  # no signal handler can be set here
        return
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, IMPORT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def too_long(target: str, seconds: float, line: str = "") -> str:
    """Return the message for an import that has no end.

    Args:
        line: where it was, if that is known.
    """
    return (
        f"target: {target!r}: importing it did not end within {seconds:g} s"
        f"{f' (it was at {line})' if line else ''}; the module must be importable; "
        "put its work into the function or under `if __name__ == '__main__':`"
    )


def is_tried() -> bool:
    """Return whether the import of a target is tried right now."""
    return bool(_importing)


def refuse_training(*_: object, **__: object) -> None:
    """Raise an error if the import of a target is tried right now.

    Raises:
        TargetError: the module trains when it is imported.
    """
    global _refused
    if _importing:
        _refused = TargetError(
            f"target: {_importing!r}: importing it starts a training; an import may "
            "not train; put the call under `if __name__ == '__main__':`"
        )
        raise _refused


def describe(
    target: str, project: Path, error: BaseException, *, output: str = ""
) -> str:
    """Return the message for a target whose import raised `error`.

    Args:
        output: what the import printed; its last line may be the reason.
    """
    if _refused is not None:  # Hydra makes a SystemExit of it
        return str(_refused)
    if isinstance(error, TargetError):
        return str(error)
    lines = str(error).strip().splitlines() or [""]
    frames = traceback.format_tb(error.__traceback__)
    line = place("".join(reversed(frames)), project)
    where = f" at {line}" if line else ""
    if not isinstance(error, SystemExit):
        name = type(error).__name__
        return f"target: {target!r}: importing it raised {name}{where}: {lines[0]}"
    text = f"target: {target!r}: importing it calls sys.exit({error.code!r}){where}"
    lines = output.strip().splitlines() if error.code else []
    return (
        f"{text}{': ' + lines[-1].strip() if lines else ''}; the module must be "
        "importable, as `python train.py` without arguments runs it; put what exits "
        "under `if __name__ == '__main__':` or give its arguments defaults"
    )


def own_packages(target: str, project: Path) -> set[str]:
    """Return the top-level modules that belong to the project, if it is installed."""
    top = target.partition(":")[0].partition(".")[0]
    names = [_distribution_name(project)]
    module = sys.modules.get(top)
    if module is not None and _is_in_library(getattr(module, "__file__", None)):
        names += importlib.metadata.packages_distributions().get(top, [])
    found = {top}
    for name in filter(None, names):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            for file in importlib.metadata.files(name) or ():
                found.add(file.parts[0].partition(".")[0])
    return found


def _distribution_name(project: Path) -> str:
    """Return the name in the project's pyproject.toml, "" if it has none."""
    try:
        data = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    tables = (data.get("project", {}), data.get("tool", {}).get("poetry", {}))
    return next((str(table["name"]) for table in tables if "name" in table), "")


def split(names: Iterable[str], own: set[str]) -> tuple[list[str], list[str]]:
    """Split imported modules into third-party ones and those of the project.

    Modules that no import statement can make again, such as aliases, are in neither.
    """
    shared: list[str] = []
    private: list[str] = []
    for name in names:
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if spec is None or spec.name != name or spec.origin is None:
            continue
        is_shared = spec.origin in ("built-in", "frozen") or _is_in_library(spec.origin)
        is_own = name.partition(".")[0] in own or not is_shared
        (private if is_own else shared).append(name)
    return shared, private


def _is_in_library(file: str | None) -> bool:
    """Return whether a file is of the standard library or of an installed package."""
    if file is None:
        return False
    named = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {sysconfig.get_path(name) for name in named}
    folders |= {*site.getsitepackages(), site.getusersitepackages()}
    return any(
        path.startswith(folder + os.sep)
        for folder in folders
        for path in (file, os.path.realpath(file))
    )


def forget_shadowed(project: Path) -> None:
    """Forget imported modules that the project has a module of its own for.

    sweeper may have imported another module of that name, such as one of the standard
    library. Under `python train.py` the project's own would be found.
    """
    root = os.path.realpath(project) + os.sep
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if top in ("sweeper", "__main__") or top in sys.builtin_module_names:
            continue
        files = (project / f"{top}.py", project / top / "__init__.py")
        file = getattr(sys.modules.get(top, module), "__file__", None) or ""
        is_own = os.path.realpath(file).startswith(root) if file else False
        if not is_own and any(path.is_file() for path in files):
            del sys.modules[name]


class _OwnModuleError(BaseException):
    """An import of a project's module, by a third-party module."""


class _OwnModulesBlocked(importlib.abc.MetaPathFinder):
    """Ends imports that would load a module of the project in the zygote."""

    def __init__(self, private: Iterable[str]) -> None:
        self._private = frozenset(private)

    def find_spec(
        self, name: str, path: object, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find nothing; raise an error for a module of the project."""
        if name in self._private:
            raise _OwnModuleError(name)
        return None


def import_shared(shared: Sequence[str], private: Iterable[str]) -> None:
    """Import third-party modules, in order, without those of the project.

    A module that cannot be imported so is left to each trial.
    """
    blocker = _OwnModulesBlocked(private)
    sys.meta_path.insert(0, blocker)
    try:
        for name in shared:
            with contextlib.suppress(Exception, SystemExit, _OwnModuleError):
                importlib.import_module(name)
    finally:
        sys.meta_path.remove(blocker)


def place(stack: str, project: Path) -> str:
    """Return the innermost line of the project in a stack of `faulthandler`, or ""."""
    for file, line in re.findall(r'File "(.+?)", line (\d+)', stack):
        path = Path(file)
        if path.is_relative_to(project) and "site-packages" not in path.parts:
            return f"{path.relative_to(project)}:{line}"
    return ""

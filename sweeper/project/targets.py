"""A target, imported: what its module registers with Hydra is there afterwards."""

import contextlib
import importlib
import importlib.util
import inspect
import runpy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig

from sweeper.errors import TargetError, nearest
from sweeper.host.sources import entry, is_program, put_on_path
from sweeper.project import importing


def load(name: str) -> Callable[[DictConfig], object]:
    """The function that "module:function" names.

    Raises:
        TargetError: no such module or function.
    """
    module_name, _, function = name.partition(":")
    module = _import(name, module_name)
    found = getattr(module, function, None)
    if not callable(found):
        functions = [n for n, _ in inspect.getmembers(module, inspect.isfunction)]
        raise TargetError(
            f"target: {name!r}: {module_name} has no function {function!r}; "
            f"{nearest(function, functions)}"
        )
    target: Callable[[DictConfig], object] = found
    return target


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
    """Import a target for what it registers: structured configs and resolvers.

    Raises:
        TargetError: it cannot be imported.
    """
    put_on_path(project)
    try:
        with (
            contextlib.chdir(project),  # modules may look for their files at import
            importing.as_script(target, project),
            importing.tried(target),
            importing.limited(target),
        ):
            _register(target, project)
    except (TargetError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the project's: whatever its modules raise
        raise TargetError(importing.describe(target, project, error)) from error


def _register(target: str, project: Path) -> None:
    if not is_program(target):
        _import(target, target.partition(":")[0])
        return
    file = entry(target, project)
    if file is not None and "sweeper_target" not in sys.modules:
        _import_file(file)


def _import_file(file: Path) -> None:
    # As a script's own `if __name__ == "__main__"` would not run.
    spec = importlib.util.spec_from_file_location("sweeper_target", file)
    assert spec is not None  # noqa: S101  # of a .py file there is one
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules["sweeper_target"] = module
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    spec.loader.exec_module(module)


class _Begun(BaseException):
    """Unwinds a program where Hydra would begin."""


def run_to_hydra(target: str, project: Path) -> None:
    """Run a program up to the place where Hydra would read the command line.

    Some register their configs no earlier than in their main function.
    """
    file = entry(target, project)
    if file is None:
        return
    words = shlex.split(target)
    hydra: Any = importlib.import_module("hydra.main")  # a function hides it
    run, arguments = hydra._run_hydra, sys.argv

    def begin(*_: object, **__: object) -> None:
        raise _Begun

    hydra._run_hydra = begin
    sys.argv = [str(file)]
    try:
        with contextlib.chdir(project), contextlib.suppress(_Begun, SystemExit):
            if "-m" in words:
                name = words[words.index("-m") + 1]
                runpy.run_module(name, run_name="__main__")
            else:
                runpy.run_path(str(file), run_name="__main__")
    finally:
        hydra._run_hydra, sys.argv = run, arguments

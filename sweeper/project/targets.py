"""A target, imported: what its module registers with Hydra is there afterwards."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from omegaconf import DictConfig

from sweeper.definition.sources import entry, is_program
from sweeper.errors import TargetError, nearest


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
    if str(project) not in sys.path:
        sys.path.insert(0, str(project))
    if not is_program(target):
        _import(target, target.partition(":")[0])
        return
    file = entry(target, project)
    if file is None or "sweeper_target" in sys.modules:
        return
    # As a script's own `if __name__ == "__main__"` would not run.
    spec = importlib.util.spec_from_file_location("sweeper_target", file)
    assert spec is not None  # noqa: S101  # of a .py file there is one
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules["sweeper_target"] = module
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    spec.loader.exec_module(module)

"""A registry of classes that are options of a config group without a YAML file.

The classes are stored in Hydra's ConfigStore, so composing, overriding and sweeping
treat them like files.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import MISSING

PROVIDER = "sweeper.vision.register"
T = TypeVar("T", bound=Callable[..., object])

_registered: dict[tuple[str, str], str] = {}


class RegisterError(ValueError):
    """A name that a class must not have in a config group."""


def register(*, name: str, group: str) -> Callable[[T], T]:
    """Make a class an option of a config group, such as `model=resnet18`.

    The option's config is the class's path and the defaults of its signature; an
    argument without a default is `???`, which an override must set. The module must be
    imported before Hydra composes: import it in the module of the target or `main`.

    Args:
        name: name of the option.
        group: config group; a subgroup is `outer/inner`.

    Raises:
        RegisterError: another class has the name, or the class is inside a function.
    """

    def add(cls: T) -> T:
        path = f"{cls.__module__}.{cls.__qualname__}"
        if "<locals>" in path:
            raise RegisterError(
                f"{path}: registered as {group}={name}, but is inside a function; "
                "define it at the top level of its module"
            )
        other = _registered.setdefault((group, name), path)
        if other.rpartition(".")[2] != path.rpartition(".")[2]:
            raise RegisterError(
                f"{group}={name}: both {other} and {path} are registered under this "
                "name; rename one"
            )
        ConfigStore.instance().store(
            group=group, name=name, node=_node(cls, path), provider=PROVIDER
        )
        return cls

    return add


def check_names() -> None:
    """Check that no file has the name of a registered class.

    Hydra would silently use the file.

    Raises:
        RegisterError: a file and a class have the same name.
    """
    if not HydraConfig.initialized():
        return
    for source in HydraConfig.get().runtime.config_sources:
        for (group, name), path in _registered.items():
            file = Path(source.path, group, f"{name}.yaml")
            if source.schema == "file" and file.exists():
                raise RegisterError(
                    f"{group}={name}: both {file} and the class {path} have this name; "
                    "rename one"
                )


def _node(cls: Callable[..., object], path: str) -> dict[str, object]:
    """Return a config that makes the class with the defaults of its signature."""
    node: dict[str, object] = {"_target_": path}
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
            parameter.POSITIONAL_ONLY,
        ):
            continue
        if parameter.default is parameter.empty:
            node[parameter.name] = MISSING
        elif _is_plain(parameter.default):
            node[parameter.name] = _plain(parameter.default)
    return node


def _is_plain(value: Any) -> bool:
    """Return True if a config can hold the value; other defaults are left out."""
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | Enum | Path)


def _plain(value: Any) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value

"""The types of an experiment file's keys: what each may hold, in words.

A validator here sees one value, never another key and never a file.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from sweeper.definition.sources import is_program
from sweeper.host.redaction import is_secret

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DURATION = re.compile(
    r"(?=\d)(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?"
)
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([MGT]i?B)")
UNITS = {
    **{"MB": 10**6, "GB": 10**9, "TB": 10**12},
    **{"MiB": 2**20, "GiB": 2**30, "TiB": 2**40},
}
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            "must be up to 100 letters, digits, '-', '_' or '.' that start with a "
            "letter or digit (it names a folder)"
        )
    return name


def _check_target(target: str) -> str:
    if not _TARGET.fullmatch(target) and not is_program(target):
        raise ValueError(
            "must be module:function, or a program such as [python, train.py]"
        )
    return target


def _program(target: object) -> object:
    is_words = isinstance(target, list | tuple) and all(map(_is_word, target))
    return shlex.join(map(str, target)) if is_words else target  # type: ignore[call-overload]  # of words


def _is_word(word: object) -> bool:
    return isinstance(word, str) and bool(word)


def _check_seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError("must be at least one seed, none of them twice")
    return seeds


def _check_plugin(plugin: str | Mapping[str, object]) -> str | Mapping[str, object]:
    if isinstance(plugin, Mapping) and not isinstance(plugin.get("_target_"), str):
        raise ValueError("must be a name or a mapping with _target_: module.Class")
    return plugin


def _check_gpus(gpus: float | str) -> float | str:
    if isinstance(gpus, float) and (gpus < 0 or (gpus > 1 and gpus % 1)):
        raise ValueError(
            "must be auto, 0, a share of one GPU (0 to 1) or a whole number"
        )
    return gpus


def _check_env(env: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a variable")
        if is_secret(name, value):
            raise ValueError(
                f"must hold no secret such as {name!r}, which would be written to the "
                "sweep's folder (export it in the shell that runs sweeper)"
            )
    return env


def _seconds(value: object) -> object:
    """`90`, `90s`, `10m`, `1h30m` in seconds; anything else as it is."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        parts = zip(match.groups(), (3600, 60, 1), strict=True)
        return sum(float(number) * unit for number, unit in parts if number)
    return value


def _check_seconds(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError(
            "must be a positive duration: seconds, or text such as 90s, 10m, 1h30m"
        )
    return seconds


def _single(value: object) -> object:
    return (value,) if isinstance(value, int) else value


def _none(value: object) -> object:
    return "none" if value is None else value


def _words(env: object) -> object:
    """Whole numbers of `env` as text; what 1.0 or true would be is not clear."""
    if not isinstance(env, Mapping):
        return env
    return {key: str(v) if type(v) is int else v for key, v in env.items()}


def _bytes(size: object) -> object:
    """A size in words as a number of bytes."""
    found = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if found is None and size is not None and type(size) is not int:
        raise ValueError(f"must be a number of bytes, or one with {', '.join(UNITS)}")
    return size if found is None else int(float(found[1]) * UNITS[found[2]])


def _check_spaces(space: object) -> object:
    spaces = space if isinstance(space, tuple) else (space,)
    if not all(isinstance(each, Mapping) for each in spaces):
        raise ValueError(
            "must be a mapping of keys to values, or a list of such mappings"
        )
    return space


Text: TypeAlias = Annotated[str, Field(min_length=1)]
Spaces: TypeAlias = Mapping[str, object] | tuple[Mapping[str, object], ...]
SearchSpace: TypeAlias = Annotated[
    Spaces, BeforeValidator(_check_spaces, json_schema_input_type=Spaces)
]
Name: TypeAlias = Annotated[str, AfterValidator(_check_name)]
Target: TypeAlias = Annotated[
    str, BeforeValidator(_program), AfterValidator(_check_target)
]
Plugin: TypeAlias = Annotated[
    str | Mapping[str, object],
    BeforeValidator(_none, json_schema_input_type=str | Mapping[str, object] | None),
    AfterValidator(_check_plugin),
]
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**32)]
Seeds: TypeAlias = Annotated[
    tuple[Seed, ...],
    BeforeValidator(_single, json_schema_input_type=tuple[Seed, ...] | Seed),
    AfterValidator(_check_seeds),
]
Gpus: TypeAlias = Annotated[float | Literal["auto"], AfterValidator(_check_gpus)]
Cpus: TypeAlias = Annotated[float, Field(gt=0)] | Literal["auto"]
Prices: TypeAlias = Mapping[str, Annotated[float, Field(ge=0)]]
Disk: TypeAlias = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_bytes)]
Env: TypeAlias = Annotated[
    Mapping[str, str],
    BeforeValidator(_words, json_schema_input_type=Mapping[str, str | int]),
    AfterValidator(_check_env),
]
Duration: TypeAlias = Annotated[
    float,
    BeforeValidator(_seconds, json_schema_input_type=float | str),
    AfterValidator(_check_seconds),
]

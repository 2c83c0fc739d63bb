"""Hydra's override and sweep grammar, read and written by Hydra's own parser."""

import math
import re
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    Glob,
    Override,
    Quote,
    QuotedString,
    Sweep,
)
from hydra.errors import HydraException

from sweeper.system.errors import ConfigError

MAX_LENGTH = 10_000  # characters of one override

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = {"null", "true", "false", "inf", "nan"}


def parse_override(text: str) -> Override:
    """Parse one Hydra override.

    Raises:
        ConfigError: with Hydra's own reason, in one line.

    >>> parse_override("+model.depth=3").value()
    3
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"override longer than {MAX_LENGTH} characters")
    try:
        return _parser().parse_override(text)
    except (HydraException, RecursionError, AssertionError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"{text[:80]!r} is not a Hydra override: {reason[:300]}; "
            "put text with special characters in quotes"
        ) from error


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def to_text(value: object) -> str:
    r"""Return the text that Hydra's grammar reads back as exactly this value.

    Raises:
        ConfigError: the grammar cannot spell it (a dict key such as "1").

    >>> to_text(["a, b", None, 1e-05, {"k": True}])
    "['a, b',null,1e-05,{k:true}]"
    """
    text = _text(value)
    if not isinstance(value, bool | int | float) and not _BARE.fullmatch(text):
        read = plain(parse_override(f"x={text}").value())
        if repr(read) != repr(plain(value)):
            raise ConfigError(f"{value!r} cannot be written in Hydra's grammar")
    return text


def _text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{k}:{_text(v)}' for k, v in value.items())}}}"
    if isinstance(value, str):
        if _BARE.fullmatch(value) and value.lower() not in _WORDS:
            return value
        return QuotedString(value, Quote.single).with_quotes()
    return repr(value)


def plain(value: object) -> object:
    """Return a parsed element without Hydra's quotes; a sweep inside is refused."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sweep | Glob):
        raise ConfigError("a sweep within a list of values; write one or the other")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{value} is not a finite number")
    return value


def split(text: str) -> list[str]:
    """Split a text at the commas that are in no bracket and no quote.

    >>> split("a=choice(1, 2), b=choice('x,y', z)")
    ['a=choice(1, 2)', " b=choice('x,y', z)"]
    """
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += character
    return parts

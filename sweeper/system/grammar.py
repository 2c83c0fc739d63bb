"""Hydra's override grammar: parsing with Hydra's own parser, and writing."""

import math
import re
from typing import TYPE_CHECKING

from sweeper.system.errors import ConfigError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

MAX_LENGTH = 10_000  # characters of one override

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = {"null", "true", "false", "inf", "nan"}


def parse_override(text: str) -> "Override":
    """Parse one Hydra override.

    Raises:
        ConfigError: with Hydra's reason in one line.

    >>> parse_override("+model.depth=3").value()
    3
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if len(text) > MAX_LENGTH:
        raise ConfigError(f"override longer than {MAX_LENGTH} characters")
    try:
        return OverridesParser.create().parse_override(text)
    except (HydraException, RecursionError, AssertionError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"{text[:80]!r} is not a Hydra override: {reason[:300]}; "
            "put text with special characters in quotes"
        ) from error


def to_text(value: object) -> str:
    r"""Return the text that Hydra's grammar parses to exactly this value.

    Raises:
        ConfigError: the grammar cannot express it (a dict key such as "1").

    >>> to_text(["a, b", None, 1e-05, {"k": True}])
    "['a, b',null,1e-05,{k:true}]"
    """
    text = _text(value)
    if not isinstance(value, bool | int | float) and not _BARE.fullmatch(text):
        parsed = plain(parse_override(f"x={text}").value())
        if repr(parsed) != repr(plain(value)):
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
        from hydra.core.override_parser.types import Quote, QuotedString

        return QuotedString(value, Quote.single).with_quotes()
    return repr(value)


def plain(value: object) -> object:
    """Return a parsed value with plain strings for Hydra's quoted ones.

    Raises:
        ConfigError: it holds a sweep, or a number that is not finite.
    """
    from hydra.core.override_parser.types import Glob, QuotedString, Sweep

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

"""Hydra's override and sweep grammar, read and written by Hydra's own parser.

It turns text into values and values into text; it knows neither config nor space.
"""

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
)
from hydra.errors import HydraException

from sweeper.errors import ConfigError, nearest

MAX_LENGTH = 10_000  # characters of one override
MAX_CHOICES = 10_000

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = {"null", "true", "false", "inf", "nan"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Numbers from `low` to `high`."""

    low: float
    high: float
    is_log: bool
    is_int: bool


def parse_override(text: str) -> Override:
    """One Hydra override, parsed.

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
            f"{text[:80]!r} is no Hydra override: {reason[:300]}; "
            "put text with special characters in quotes"
        ) from error


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def to_text(value: object) -> str:
    r"""The text that Hydra's grammar reads back as exactly this value.

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
    """A parsed element without Hydra's quotes; a sweep inside of it is refused."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sweep | Glob):
        raise ConfigError("a sweep within a list of values; write one or the other")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{value} is no finite number")
    return value


def expand(
    key: str, text: str, *, options: Sequence[str], seed: int
) -> tuple[object, ...] | Interval:
    """The values that a text of the sweep grammar stands for.

    Args:
        key: config key or group that is swept.
        text: what would follow `key=` on Hydra's command line.
        options: of the config group, for glob; empty for a key.
        seed: orders what `shuffle` shuffles.

    Raises:
        ConfigError: it is not of the grammar, or stands for no value.

    >>> expand("x", "range(1, 4)", options=(), seed=0)
    (1, 2, 3)
    """
    sweep = parse_override(f"{key}={text}")._value
    values: Sequence[object]
    if isinstance(sweep, IntervalSweep):
        return _interval(sweep)
    if isinstance(sweep, ChoiceSweep):
        values = [plain(item) for item in sweep.list]
    elif isinstance(sweep, RangeSweep):
        values = _range(sweep)
    elif isinstance(sweep, Glob):
        if not all(isinstance(item, str) for item in sweep.include + sweep.exclude):
            raise ConfigError(f"{text!r} matches names; put them in quotes")
        values = sweep.filter(list(options))
        if not values:
            what = f"options: {', '.join(options)}" if options else "not a config group"
            raise ConfigError(f"{text!r} matches no option of {key!r} ({what})")
    else:
        values = [plain(sweep)]
    if isinstance(sweep, ChoiceSweep | RangeSweep) and sweep.shuffle:
        values = random.Random(seed).sample(values, len(values))  # noqa: S311
    return tuple(values)


def _range(sweep: RangeSweep) -> list[object]:
    """Exact: 0.1 + 0.2 is 0.3, where Hydra adds binary fractions."""
    bounds = (sweep.start, sweep.stop, sweep.step)
    if any(isinstance(bound, bool) for bound in bounds):
        raise ConfigError("range() goes from number to number; true and false are none")
    start, stop, step = (Decimal(repr(bound)) for bound in bounds)
    if not all(bound.is_finite() for bound in (start, stop, step)) or step == 0:
        raise ConfigError("range() needs finite bounds and a step other than 0")
    length = math.ceil((stop - start) / step)
    if not 0 < length <= MAX_CHOICES:
        raise ConfigError(
            f"range({start}, {stop}, {step}) holds {max(length, 0)} values; "
            f"a parameter has 1 to {MAX_CHOICES}"
        )
    convert = int if all(isinstance(bound, int) for bound in bounds) else float
    return [convert(start + step * index) for index in range(length)]


def _interval(sweep: IntervalSweep) -> Interval:
    unknown = sorted(sweep.tags - {"log", "int"})
    if unknown:
        raise ConfigError(f"unknown tag {unknown[0]!r}; {nearest(unknown[0], _TAGS)}")
    low, high = sweep.start, sweep.end
    assert low is not None and high is not None  # noqa: PT018, S101  # Hydra's types
    is_int = "int" in sweep.tags or isinstance(low, int)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"interval({low}, {high}) must go up, between finite numbers")
    if "log" in sweep.tags and low <= 0:
        raise ConfigError(f"interval({low}, {high}) with tag log must begin above 0")
    if is_int and (low % 1 or high % 1):
        raise ConfigError(f"interval({low}, {high}) of whole numbers has other bounds")
    return Interval(low=low, high=high, is_log="log" in sweep.tags, is_int=is_int)


_TAGS = ("int", "log")

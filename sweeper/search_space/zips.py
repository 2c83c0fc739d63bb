"""Zipped parameters: `pair=zip(a=choice(1, 2), b=choice(x, y))` is (1, x) and (2, y).

The form is the one that Hydra plans for its own grammar. A pair is one parameter, whose
values are recipes of overrides.
"""

import re
from collections.abc import Mapping, Sequence

from optuna.distributions import CategoricalDistribution

from sweeper.errors import ConfigError
from sweeper.search_space import grammar
from sweeper.search_space.fixed import check_key
from sweeper.search_space.grammar import Interval
from sweeper.search_space.parameter import Parameter
from sweeper.trial import Value, derive

_ZIP = re.compile(r"\s*zip\((.*)\)\s*", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*")
_OPEN, _CLOSE = "([{", ")]}"


def parse(
    name: str, text: str, groups: Mapping[str, Sequence[str]], *, seed: int
) -> Parameter | None:
    """The parameter that a zip stands for; None where the text is no zip.

    Raises:
        ConfigError: its parts are no sweeps, or not of one length.
    """
    found = _ZIP.fullmatch(text)
    if found is None:
        return None
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} names a zip, which is no key of the config; name it as a word, "
            "such as pair"
        )
    columns = dict(_column(part, groups, seed) for part in split(found[1]))
    lengths = {key: len(words) for key, words in columns.items()}
    if len(columns) < 2 or len(set(lengths.values())) > 1:
        raise ConfigError(
            f"a zip of {lengths}; it must have two keys or more, each with as many "
            "values as the others"
        )
    recipes: dict[Value, tuple[str, ...]] = {
        ",".join(recipe): recipe for recipe in zip(*columns.values(), strict=True)
    }
    if len(recipes) < max(lengths.values()):
        raise ConfigError("a zip with the same values twice; remove one")
    return Parameter(
        name=name,
        distribution=CategoricalDistribution(tuple(recipes)),
        texts={label: str(label) for label in recipes},
        recipes=recipes,
    )


def _column(
    part: str, groups: Mapping[str, Sequence[str]], seed: int
) -> tuple[str, tuple[str, ...]]:
    """A key with an override for each of its values."""
    key, sign, text = part.partition("=")
    key = key.strip()
    if not sign:
        raise ConfigError(f"{part.strip()!r} in a zip; it must be key=choice(...)")
    check_key(key)
    options = groups.get(key.lstrip("+").partition("@")[0], ())
    values = grammar.expand(
        key, text, options=options, seed=derive(seed, "shuffle", key)
    )
    if isinstance(values, Interval):
        raise ConfigError(f"{key!r} in a zip is an interval; list its values")
    return key, tuple(f"{key}={grammar.to_text(value)}" for value in values)


def split(text: str) -> list[str]:
    """The parts between commas that stand in no bracket and no quote.

    >>> split("a=choice(1, 2), b=choice('x,y', z)")
    ['a=choice(1, 2)', " b=choice('x,y', z)"]
    """
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _OPEN:
            depth += 1
        elif character in _CLOSE:
            depth -= 1
        elif character == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += character
    return parts


def keys(parameter: Parameter) -> tuple[str, ...]:
    """The config keys that a parameter sets: its name, or those of its zip."""
    first = next(iter(parameter.recipes.values()), None)
    if first is None:
        return (parameter.name,)
    return (parameter.name, *(word.partition("=")[0] for word in first))

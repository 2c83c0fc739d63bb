"""Composed configs of trials as flat text, to be compared.

A file that is missing or damaged is an empty config and never an error.
"""

import json
from collections.abc import Mapping

import yaml

from sweeper.system.paths import TrialPaths
from sweeper.system.text import value_cell

SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Config = Mapping[str, str]


def config(paths: TrialPaths) -> Config:
    """Return the composed config by dotted keys, without the trial's folder."""
    try:
        # the safe loader in C: a thousand configs in two seconds
        text = paths.config.read_text(encoding="utf-8")
        data = yaml.load(text, Loader=SafeLoader)  # noqa: S506  # it is a safe one
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    flat: dict[str, str] = {}
    _flatten("", data, flat)
    return {k: v for k, v in flat.items() if paths.folder.name not in v}


def _flatten(prefix: str, node: object, flat: dict[str, str]) -> None:
    if isinstance(node, dict) and node:
        for key, child in node.items():
            _flatten(f"{prefix}.{key}" if prefix else str(key), child, flat)
    elif isinstance(node, list | dict):
        flat[prefix] = json.dumps(node, default=str)
    elif prefix:
        flat[prefix] = value_cell(node)


def differences(base: Config, other: Config) -> list[tuple[str, str, str]]:
    """Return key, value in `base` and value in `other` of each difference, by key.

    >>> differences({"a": "1", "b": "2"}, {"a": "1", "b": "3"})
    [('b', '2', '3')]
    """
    keys = sorted(base.keys() | other.keys())
    pairs = [(key, base.get(key, "-"), other.get(key, "-")) for key in keys]
    return [(key, old, new) for key, old, new in pairs if old != new]

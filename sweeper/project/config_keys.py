"""Dotted keys in plain containers: which there are, and setting one without Hydra."""

import difflib
from collections.abc import Iterator, Mapping

MAX_SHOWN = 20


def exists(config: object, key: str) -> bool:
    """Whether a config has a dotted key; below an interpolation it may have any.

    >>> exists({"model": {"lr": 1}, "loaders": [{"n": 1}]}, "loaders.0.n")
    True
    """
    for part in key.split("."):
        if isinstance(config, Mapping) and part in config:
            config = config[part]
        elif isinstance(config, list) and part.isdecimal() and int(part) < len(config):
            config = config[int(part)]
        else:
            return isinstance(config, str) and "${" in config
    return True


def dotted(config: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """Every dotted key of a config, inner ones too.

    >>> list(dotted({"model": {"lr": 1}, "seed": 2}))
    ['model', 'model.lr', 'seed']
    """
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")


def hint(config: Mapping[str, object], key: str) -> str:
    """The nearest keys of a config, or else those beside the one that is missing.

    >>> config = {"model": {"depth": 1, "learning_rate": 1}, "seed": 1}
    >>> hint(config, "model.learnig_rate")
    "did you mean 'model.learning_rate'?"
    >>> hint(config, "modle.depth")
    "did you mean 'model.depth'?"
    >>> hint(config, "trainer.learning_rate")
    "did you mean 'model.learning_rate'?"
    >>> hint(config, "model.lr")
    "known in 'model': depth, learning_rate"
    """
    *parents, last = key.split(".")
    inside = config
    path = []
    for part in parents:
        inner = inside.get(part)
        if not isinstance(inner, Mapping):
            break
        inside = inner
        path.append(part)
    everything = list(dotted(config))
    if path == parents:
        near = difflib.get_close_matches(last, map(str, inside), n=2)
        close = [".".join([*path, name]) for name in near]
    else:
        close = difflib.get_close_matches(key, everything, n=2)
    close = [name for name in everything if name.split(".")[-1] == last] or close
    if close:
        return f"did you mean {' or '.join(map(repr, close[:2]))}?"
    place = f"known in {'.'.join(path)!r}" if path else "known"
    return f"{place}: {', '.join(sorted(map(str, inside))[:MAX_SHOWN])}"


def updated(config: Mapping[str, object], key: str, value: object) -> dict[str, object]:
    """A config with one key set; it shares what did not change with the old one.

    >>> updated({"model": {"lr": 1, "depth": 3}}, "model.lr", 2)
    {'model': {'lr': 2, 'depth': 3}}
    """
    result = _set(config, key.split("."), value)
    assert isinstance(result, dict)  # noqa: S101  # a mapping stays one
    return result


def _set(node: object, path: list[str], value: object) -> object:
    if not path:
        return _merged(node, value)
    first, *rest = path
    if isinstance(node, list) and first.isdecimal() and int(first) < len(node):
        index = int(first)
        return [*node[:index], _set(node[index], rest, value), *node[index + 1 :]]
    inner = dict(node) if isinstance(node, Mapping) else {}
    return {**inner, first: _set(inner.get(first), rest, value)}


def _merged(node: object, value: object) -> object:
    """Mappings are merged, as Hydra's overrides do; all else is replaced."""
    if not isinstance(node, Mapping) or not isinstance(value, Mapping):
        return value
    inner = {key: _merged(node.get(key), item) for key, item in value.items()}
    return {**node, **inner}

"""Dotted keys of a config in plain containers: looked up, suggested and set."""

import difflib
from collections.abc import Iterator, Mapping

MAX_SHOWN = 20
SEED = "seed"


def exists(config: object, key: str) -> bool:
    """Return whether a config has a dotted key; an interpolation may have any.

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
    """Yield every dotted key of a config, inner ones too.

    >>> list(dotted({"model": {"lr": 1}, "seed": 2}))
    ['model', 'model.lr', 'seed']
    """
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")


def leaves(
    config: Mapping[str, object], prefix: str = ""
) -> Iterator[tuple[str, object]]:
    """Yield every dotted key that holds no mapping, with its value.

    >>> dict(leaves({"model": {"lr": 1}, "seed": 2}))
    {'model.lr': 1, 'seed': 2}
    """
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def hint(config: Mapping[str, object], key: str) -> str:
    """Return the nearest keys of a config, else those beside the missing one.

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
    inside, path = config, list[str]()
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
    start = f"known in {'.'.join(path)!r}" if path else "known"
    return f"{start}: {', '.join(sorted(map(str, inside))[:MAX_SHOWN])}"


def updated(config: Mapping[str, object], key: str, value: object) -> dict[str, object]:
    """Return a config with one key set, which shares all other parts with the old one.

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


def seed_key(config: Mapping[str, object]) -> str:
    """Return the key that takes a trial's seed; "" if a config has none.

    >>> seed_key({"seed": None}), seed_key({"seed": {"data": 1}}), seed_key({"lr": 1})
    ('seed', '', '')
    """
    has_seed = SEED in config and not isinstance(config[SEED], dict | list)
    return SEED if has_seed else ""

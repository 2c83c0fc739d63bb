"""Ids and seeds computed from values, equal on every machine."""

import hashlib
import json
from collections.abc import Mapping


def derive(seed: int, *names: object) -> int:
    """Return a 32-bit seed for a named stream; streams are independent of each other.

    >>> derive(42, "suggest", 0) != derive(42, "suggest", 1)
    True
    """
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def canonical(value: object) -> str:
    """Return JSON that is equal for equal values: sorted keys, 1.0 as 1.

    >>> canonical({"b": 1.0, "a": 1e-3}) == canonical({"a": 0.001, "b": 1})
    True
    """

    def plain(node: object) -> object:
        if isinstance(node, Mapping):
            return {str(key): plain(child) for key, child in node.items()}
        if isinstance(node, list | tuple):
            return [plain(child) for child in node]
        is_whole = isinstance(node, float) and node.is_integer() and abs(node) < 2**53
        return int(node) if isinstance(node, float) and is_whole else node

    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"))


def trial_id(params: Mapping[str, object], *, seed: int, parent: str = "") -> str:
    """Return the id of a trial: ten hex digits, equal on every machine.

    Args:
        parent: id of the trial whose checkpoint it starts from, "" if there is none.

    >>> trial_id({"lr": 0.001}, seed=42) == trial_id({"lr": 1e-3}, seed=42)
    True
    >>> trial_id({"lr": 0.001}, seed=42) == trial_id({"lr": 0.001}, seed=43)
    False
    """
    content = {"params": params, "seed": seed}
    text = canonical({**content, "parent": parent} if parent else content)
    return hashlib.sha256(text.encode()).hexdigest()[:10]

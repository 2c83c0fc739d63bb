"""Seeds of named random streams."""

import hashlib


def derive(seed: int, *names: object) -> int:
    """Return a 32-bit seed for a named stream; streams of other names are independent.

    >>> derive(42, "suggest", 0) != derive(42, "suggest", 1)
    True
    """
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")

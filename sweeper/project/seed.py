"""The seed of a project's config: its key at the top level, and its value."""

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

KEY = "seed"
LIMIT = 2**32  # of NumPy's and Lightning's seeds


def key(config: DictConfig) -> str:
    """Return the key that takes a trial's seed; "" where a config has none.

    >>> key(OmegaConf.create({"seed": None})), key(OmegaConf.create({"lr": 0.1}))
    ('seed', '')
    """
    plain = OmegaConf.to_container(config, resolve=False)
    found = plain.get(KEY, {}) if isinstance(plain, dict) else {}
    return "" if isinstance(found, dict | list) else KEY


def value(config: DictConfig) -> int | None:
    """Return the seed that a config asks for; None where that is no usable number.

    >>> value(OmegaConf.create({"seed": "${base}", "base": 7}))
    7
    """
    try:
        found = OmegaConf.select(config, KEY) if key(config) else None
    except OmegaConfBaseException:  # an interpolation of what is known later only
        return None
    if isinstance(found, str) and found.isdecimal():
        found = int(found)
    return found if type(found) is int and 0 <= found < LIMIT else None

"""The memory key of a trial: the parameters that can change its memory.

Trials of one key take the same memory. Only names and values of parameters count.
"""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sweeper.experiment.defaults import BATCH_SIZES, EPOCHS, LEARNING_RATES
from sweeper.protocol import Params, Value

if TYPE_CHECKING:  # Hydra's grammar, which a view of a sweep does not read
    from sweeper.experiment.parameter import Parameter
    from sweeper.experiment.space import Space

# Last parts of names whose value, once it is not zero, changes no tensor's shape.
LEARNING = frozenset(
    (
        *LEARNING_RATES,
        *EPOCHS,
        *("min_lr", "weight_decay", "wd"),
        *("momentum", "beta1", "beta2", "betas", "eps", "gamma", "decay", "alpha"),
        *("tau", "temperature", "label_smoothing", "smoothing", "focal_gamma"),
        *("dropout", "drop_rate", "drop_path", "gradient_clip_val", "clip", "seed"),
        *("warmup", "warmup_fraction", "warmup_steps", "warmup_epochs", "patience"),
        "max_steps",
    )
)
MAX_KEYS = 64  # predicted for one sweep


def memory_key(params: Params, *, space: "Space") -> str:
    """Return the key of a point.

    A number in `LEARNING` counts only as zero or not: momentum 0 has no state. Without
    any relevant parameter the key is "all".
    """
    words = []
    first = {p.name: p for p in reversed(space.parameters)}  # of a list of spaces
    for parameter in space.parameters:
        if parameter.name in params and parameter is first[parameter.name]:
            value = _relevant(parameter, params[parameter.name])
            words += [] if value == "" else [f"{label(parameter.name)}={value}"]
    return " ".join(words) or "all"


def label(name: str) -> str:
    """Return the last part of a parameter's name, which a table shows.

    >>> label("data.batch_size"), label("model"), label("+trainer.x")
    ('batch_size', 'model', 'x')
    """
    return name.lstrip("+").rpartition(".")[2]


def _relevant(parameter: "Parameter", value: Value) -> str:
    from optuna.distributions import FloatDistribution, IntDistribution

    distribution = parameter.distribution
    is_learning = label(parameter.name) in LEARNING
    if isinstance(distribution, FloatDistribution):
        return ""
    if isinstance(distribution, IntDistribution):
        return "" if is_learning else f"<={distribution.high}"
    if not is_learning:
        return str(value)
    if any(not choice for choice in parameter.choices):
        return "on" if value else "off"
    return ""


def is_batch(name: str) -> bool:
    """Return whether a parameter or a key of a config is the batch size."""
    return label(name) in BATCH_SIZES


def family(key: str) -> tuple[str, int]:
    """Return a key without its batch size, and that batch size, 0 if it has none.

    >>> family("model=resnet18 batch_size=64")
    ('model=resnet18', 64)
    """
    words = key.split(" ")
    sizes = [word for word in words if is_batch(word.partition("=")[0])]
    rest = " ".join(word for word in words if word not in sizes)
    size = sizes[0].partition("=")[2].lstrip("<=") if sizes else ""
    return rest, int(size) if size.isdigit() else 0


def examples(space: "Space") -> Mapping[str, Params]:
    """Return for each key the point that takes the most; at most `MAX_KEYS`."""
    points = list(itertools.islice(space.walk(_values), 4 * MAX_KEYS))
    allowed = [p for p in points if space.allows(p)] or points
    by_key: dict[str, Params] = {}
    for point in allowed:
        by_key.setdefault(memory_key(point, space=space), point)
    return dict(list(by_key.items())[:MAX_KEYS])


def _values(parameter: "Parameter") -> list[Value]:
    """Return a value for each way that a parameter can matter to memory."""
    from optuna.distributions import FloatDistribution, IntDistribution

    distribution = parameter.distribution
    if isinstance(distribution, IntDistribution | FloatDistribution):
        return [distribution.high]
    seen: dict[str, Value] = {}
    for choice in parameter.choices:
        seen.setdefault(_relevant(parameter, choice), choice)
    return list(seen.values())

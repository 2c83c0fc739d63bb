"""Which trials take the same memory: a key made of the parameters that matter to it.

It looks at names and values of parameters only, never at a config or a model.
"""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sweeper.experiment.key_names import BATCH_SIZES, EPOCHS, LEARNING_RATES
from sweeper.trial import Params, Value

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
    """The name of all trials that take the memory of this one.

    A number in `LEARNING` counts only as zero or not: momentum 0 has no state.

    >>> from sweeper.experiment.space import Space
    >>> memory_key({}, space=Space(experiment=None, branches=()))  # type: ignore
    'all'
    """
    words = []
    known = {p.name: p for p in reversed(space.parameters)}  # of a list: its first
    for parameter in space.parameters:
        if parameter.name in params and parameter is known[parameter.name]:
            value = _relevant(parameter, params[parameter.name])
            words += [] if value == "" else [f"{label(parameter.name)}={value}"]
    return " ".join(words) or "all"


def label(name: str) -> str:
    """The part of a parameter's name that a table shows.

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
    """Whether a parameter or a key of a config is the batch size."""
    return label(name) in BATCH_SIZES


def family(key: str) -> tuple[str, int]:
    """A key without its batch size, and that batch size; 0 where it has none.

    >>> family("model=resnet18 batch_size=64")
    ('model=resnet18', 64)
    """
    words = key.split(" ")
    sizes = [word for word in words if is_batch(word.partition("=")[0])]
    rest = " ".join(word for word in words if word not in sizes)
    size = sizes[0].partition("=")[2].lstrip("<=") if sizes else ""
    return rest, int(size) if size.isdigit() else 0


def examples(space: "Space") -> Mapping[str, Params]:
    """A point for each key, the one that takes the most; at most `MAX_KEYS`.

    Integers of an interval stand at its upper end.
    """
    points = list(itertools.islice(space.walk(_values), 4 * MAX_KEYS))
    allowed = [p for p in points if space.allows(p)] or points
    found: dict[str, Params] = {}
    for point in allowed:
        found.setdefault(memory_key(point, space=space), point)
    return dict(list(found.items())[:MAX_KEYS])


def _values(parameter: "Parameter") -> list[Value]:
    """A value of the parameter for each way that it can matter."""
    from optuna.distributions import FloatDistribution, IntDistribution

    distribution = parameter.distribution
    if isinstance(distribution, IntDistribution | FloatDistribution):
        return [distribution.high]
    seen: dict[str, Value] = {}
    for choice in parameter.choices:
        seen.setdefault(_relevant(parameter, choice), choice)
    return list(seen.values())

"""Memory keys of trials, and predictions of their memory.

A memory key is the text of the parameters that can change a trial's memory. A separate
process predicts the keys, so torch is never imported here. The predictions are cached
in a file beside the sweep. A trial that cannot be predicted gets a whole card.
"""

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.experiment.defaults import BATCH_SIZES, EPOCHS, LEARNING_RATES
from sweeper.protocol import Params, Value
from sweeper.system.identity import canonical
from sweeper.system.paths import write_text

if TYPE_CHECKING:  # Hydra's grammar, which a view of a sweep does not read
    from sweeper.experiment.definition import Experiment
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
MAX_KEYS = 64  # keys that are predicted for one sweep
CACHE_VERSION = 3
TOTAL_SECONDS = 600.0  # limit for all predictions of a start


def memory_key(params: Params, *, space: "Space") -> str:
    """Return the key of a point.

    For a number in `LEARNING` only zero or non-zero counts: momentum 0 has no state.
    The key is "all" if no parameter is relevant.
    """
    words = []
    first = {p.name: p for p in reversed(space.parameters)}  # of a list of spaces
    for parameter in space.parameters:
        if parameter.name in params and parameter is first[parameter.name]:
            value = _relevant(parameter, params[parameter.name])
            words += [] if value == "" else [f"{label(parameter.name)}={value}"]
    return " ".join(words) or "all"


def label(name: str) -> str:
    """Return the last part of a parameter's name, as tables show it.

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
    """Return a key without its batch size, and the batch size (0 if it has none).

    >>> family("model=resnet18 batch_size=64")
    ('model=resnet18', 64)
    """
    words = key.split(" ")
    sizes = [word for word in words if is_batch(word.partition("=")[0])]
    rest = " ".join(word for word in words if word not in sizes)
    size = sizes[0].partition("=")[2].lstrip("<=") if sizes else ""
    return rest, int(size) if size.isdigit() else 0


def examples(space: "Space") -> Mapping[str, Params]:
    """Return the point with the highest memory of each key; at most `MAX_KEYS`."""
    points = list(itertools.islice(space.walk(_values), 4 * MAX_KEYS))
    allowed = [p for p in points if space.allows(p)] or points
    by_key: dict[str, Params] = {}
    for point in allowed:
        by_key.setdefault(memory_key(point, space=space), point)
    return dict(list(by_key.items())[:MAX_KEYS])


def _values(parameter: "Parameter") -> list[Value]:
    """Return one value for each effect of a parameter on memory."""
    from optuna.distributions import FloatDistribution, IntDistribution

    distribution = parameter.distribution
    if isinstance(distribution, IntDistribution | FloatDistribution):
        return [distribution.high]
    seen: dict[str, Value] = {}
    for choice in parameter.choices:
        seen.setdefault(_relevant(parameter, choice), choice)
    return list(seen.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The memory and arithmetic of a training step of one key's trials.

    Attributes:
        how: "followed" on tensors without storage, "measured on the CPU" with tiny
            batches, or "none".
        note: the reason why no better method worked.
        peak_bytes: 0 if it is not known.
        state_bytes: weights and optimiser's state, which a checkpoint holds.
        flops: of one step, forward and backward.
        steps: training batches of an epoch, 0 if that is not known.
        epochs: of a whole trial, 0 if that is not known.
        is_sure: whether it is cached. It is not if the process was killed or too
            slow; the next start predicts again.
    """

    how: str
    note: str = ""
    peak_bytes: int = 0
    state_bytes: int = 0
    flops: int = 0
    parameters: int = 0
    precision: str = ""
    optimizer: str = ""
    batch_size: int = 0
    steps: int = 0
    epochs: int = 0
    is_sure: bool = True


def predict(
    experiment: "Experiment", space: "Space", *, cache: Path
) -> Mapping[str, Prediction]:
    """Predict each memory key of a sweep that the cache does not have.

    Args:
        cache: JSON file; replaced if it was made for other fixed settings.
    """
    points = examples(space)
    stamp = settings_stamp(experiment, version=CACHE_VERSION)
    predictions = _read(cache, stamp)
    trials = {
        key: [*experiment.overrides, *space.overrides(params)]
        for key, params in points.items()
        if key not in predictions
    }
    if trials:
        predictions |= _ask(experiment, trials)
        sure = {key: asdict(p) for key, p in predictions.items() if p.is_sure}
        text = json.dumps({"stamp": stamp, "predictions": sure}, indent=1)
        if sure:
            write_text(cache, text + "\n")
    return {key: predictions[key] for key in points}


def settings_stamp(experiment: "Experiment", **more: object) -> str:
    """Return a hash of the fixed settings of a sweep and of `more`."""
    fixed = {
        "target": experiment.target,
        "config": experiment.config,
        "overrides": list(experiment.overrides),
        "variants": {name: list(v) for name, v in experiment.variants.items()},
        **more,
    }
    return hashlib.sha256(canonical(fixed).encode()).hexdigest()[:16]


def _read(cache: Path, stamp: str) -> dict[str, Prediction]:
    try:
        data = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # missing or torn: it is predicted again
    if data["stamp"] != stamp:
        return {}
    return {key: Prediction(**fields) for key, fields in data["predictions"].items()}


def _ask(
    experiment: "Experiment", trials: Mapping[str, Sequence[str]]
) -> dict[str, Prediction]:
    """Predict in a separate process, since it runs the project's code.

    Ctrl-C in a terminal does not reach it; the driver handles that.
    """
    request = {
        "project": str(experiment.project),
        "target": experiment.target,
        "config": str(experiment.project / experiment.config),
        "trials": trials,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "sweeper.trial.memory_trace"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=experiment.project,
        start_new_session=True,
    ) as process:
        late = ""
        try:
            output, errors = process.communicate(
                json.dumps(request) + "\n", timeout=TOTAL_SECONDS
            )
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            late = f"not predicted: {TOTAL_SECONDS:g} s are over"
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    last = (errors.strip().splitlines() or ["no output"])[-1]
    missing = Prediction(
        how="none", note=late or f"the prediction died: {last}", is_sure=False
    )
    predictions = dict.fromkeys(trials, missing)
    for line in output.splitlines(keepends=True):
        if line.endswith("\n"):  # else the process ended within the line
            answer = json.loads(line)
            key = answer.pop("key")
            predictions[key] = Prediction(**answer)
    return predictions

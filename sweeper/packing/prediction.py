"""Predicted memory of a sweep's trials, by key, kept in a file beside the sweep.

A process of its own is asked, so that torch is never imported here; a trial that
cannot be predicted gets a whole card, and the reason is kept.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeper.experiment.definition import Experiment
from sweeper.experiment.space import Space
from sweeper.journal.record import canonical
from sweeper.packing import memory_key
from sweeper.system.paths import write_text

VERSION = 3
TOTAL_SECONDS = 600.0  # that all predictions of a start may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The memory and arithmetic of a training step of one key's trials.

    Attributes:
        how: "followed" on tensors without storage, "measured on the CPU" with tiny
            batches, or "none".
        note: why no better way worked.
        peak_bytes: 0 if it is not known.
        state_bytes: weights and optimiser's state, which a checkpoint holds.
        flops: of one step, forward and backward.
        steps: training batches of an epoch, 0 if that is not known.
        epochs: of a whole trial, 0 if that is not known.
        is_sure: whether it would be the same at another time; a process that was
            killed or too slow says nothing, so the next start asks again.
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
    experiment: Experiment, space: Space, *, cache: Path
) -> Mapping[str, Prediction]:
    """Predict each memory key of a sweep that the cache does not have.

    Args:
        cache: JSON file; one that was made for other fixed settings is replaced.
    """
    examples = memory_key.examples(space)
    stamp = settings_stamp(experiment, version=VERSION)
    predictions = _read(cache, stamp)
    trials = {
        key: [*experiment.overrides, *space.overrides(params)]
        for key, params in examples.items()
        if key not in predictions
    }
    if trials:
        predictions |= _ask(experiment, trials)
        sure = {key: asdict(p) for key, p in predictions.items() if p.is_sure}
        text = json.dumps({"stamp": stamp, "predictions": sure}, indent=1)
        if sure:
            write_text(cache, text + "\n")
    return {key: predictions[key] for key in examples}


def settings_stamp(experiment: Experiment, **more: object) -> str:
    """Return a text that changes with what is fixed in a sweep, and with `more`."""
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
    experiment: Experiment, trials: Mapping[str, Sequence[str]]
) -> dict[str, Prediction]:
    """Predict in a process of its own, which may import, train or break anything.

    Ctrl-C of a terminal does not reach it: the driver decides what that ends.
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
        if line.endswith("\n"):  # else it was cut by the end of the process
            answer = json.loads(line)
            key = answer.pop("key")
            predictions[key] = Prediction(**answer)
    return predictions

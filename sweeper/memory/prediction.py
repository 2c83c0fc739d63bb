"""Predicted memory of a sweep's trials, by key, kept in a file beside the sweep.

It asks a process of its own and never imports torch; a trial that cannot be predicted
gets a whole card, and the reason is kept.
"""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeper.experiment.experiment import Experiment
from sweeper.experiment.space import Space
from sweeper.host.paths import write_text
from sweeper.memory import kinds
from sweeper.trial import canonical

log = logging.getLogger(__name__)

VERSION = 2
TOTAL_SECONDS = 600.0  # that all predictions of a start may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a training step of the trials of one key takes.

    Attributes:
        how: "followed" on tensors without storage, "from the config" where the data
            is not there, "measured on the CPU" with a tiny batch, or "none".
        note: why no better way worked.
        peak_bytes: 0 where nothing is known.
        state_bytes: weights and optimiser's state, which a checkpoint holds.
        flops: of one step, forward and backward.
        steps: training batches of an epoch, 0 where that is not known.
        epochs: of a whole trial, 0 where that is not known.
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
    """A prediction for each memory key of a sweep; what the cache has is not repeated.

    Args:
        cache: JSON file; one that was made for other fixed settings is made anew.
    """
    examples = kinds.examples(space)
    stamp = _stamp(experiment)
    known = _read(cache, stamp)
    missing = {key: params for key, params in examples.items() if key not in known}
    if missing:
        trials = {
            key: [*experiment.overrides, *space.overrides(params)]
            for key, params in missing.items()
        }
        known = {**known, **_ask(experiment, trials)}
        sure = {key: found for key, found in known.items() if found.is_sure}
        data = {key: asdict(found) for key, found in sure.items()}
        text = json.dumps({"stamp": stamp, "predictions": data}, indent=1)
        if data:
            write_text(cache, text + "\n")
    return {key: known[key] for key in examples}


def _stamp(experiment: Experiment) -> str:
    """Changes with whatever is fixed in a sweep and may change its memory."""
    fixed = {
        "version": VERSION,
        "target": experiment.target,
        "config": experiment.config,
        "overrides": list(experiment.overrides),
        "variants": {name: list(v) for name, v in experiment.variants.items()},
    }
    return hashlib.sha256(canonical(fixed).encode()).hexdigest()[:16]


def _read(cache: Path, stamp: str) -> dict[str, Prediction]:
    try:
        data = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # missing or torn: it is predicted again
    if data["stamp"] != stamp:
        return {}
    return {key: Prediction(**found) for key, found in data["predictions"].items()}


def _ask(
    experiment: Experiment, trials: Mapping[str, Sequence[str]]
) -> dict[str, Prediction]:
    """Predict in a process of its own, which may import, train or break anything.

    No Ctrl-C of a terminal reaches it: the driver decides what that ends.
    """
    request = {
        "project": str(experiment.project),
        "target": experiment.target,
        "config": str(experiment.project / experiment.config),
        "sweep": experiment.name,
        "trials": trials,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "sweeper.memory.child"],
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
    found: dict[str, Prediction] = {}
    for line in output.splitlines(keepends=True):
        if not line.endswith("\n"):
            break  # cut by the end of the process
        data = json.loads(line)
        key = data.pop("key")
        data = {k: v for k, v in data.items() if k in Prediction.__dataclass_fields__}
        found[key] = Prediction(**data)
    last = (errors.strip().splitlines() or ["no output"])[-1]
    note = late or f"the prediction died: {last}"
    for key in trials:
        if key not in found:
            found[key] = Prediction(how="none", note=note, is_sure=False)
    return found

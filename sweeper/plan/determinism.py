"""A check that a trial is reproducible, also after a kill and a resume.

Short trials run in separate processes; the sweep is not changed.
`python -m sweeper.plan.determinism A B` compares the weights of two checkpoints,
so that the process of the command need not import torch.
"""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from sweeper.plan.checks import Finding
from sweeper.plan.plan import Plan
from sweeper.plan.preflight import run_single, single_spec
from sweeper.project.points import representatives
from sweeper.protocol import Decision, Report, TrialSpec
from sweeper.system import locks, metrics_file
from sweeper.system.errors import SweeperError
from sweeper.system.paths import TrialPaths

EPOCHS = 2  # the kill is in the second
MAX_BATCHES = 4  # per loader and epoch
SHOWN = 3  # names of differing values in a message
TOPIC = "determinism"
CLEAN_ADVICE = (
    "something draws from a generator that nobody seeds, such as one made by "
    "np.random.default_rng() or random.Random() at each call, or a kernel of "
    "this device is not deterministic (try trainer.deterministic=true)"
)
KILLED_ADVICE = (
    "some state is in no checkpoint: give it state_dict and load_state_dict "
    "in the module, the data module or a callback"
)


def examine(plan: Plan, address: Path) -> Iterator[Finding]:
    """Run the first point of a plan three times, once with a SIGKILL in epoch 2.

    Args:
        address: socket of a zygote of the plan's target.

    Raises:
        SweeperError: the trial does not run, or logs no metrics.
    """
    params = representatives(plan.space)[0]
    with tempfile.TemporaryDirectory(prefix="sweeper-twins-") as folder:
        one, two, cut = (
            replace(
                single_spec(plan, params, Path(folder) / name),
                max_batches=MAX_BATCHES,
            )
            for name in ("one", "two", "cut")
        )
        _run(one, address)
        _run(two, address)
        _run(cut, address, is_killed=True)
        _run(cut, address)
        clean, size = _differences(one, two)
        killed, _ = _differences(one, cut)
    if clean:
        text = f"two clean runs differ in {_named(clean)}"
        yield Finding(topic=TOPIC, text=text, is_fine=False, advice=CLEAN_ADVICE)
    else:
        text = f"two clean runs are bit-equal in {size} numbers and weights"
        yield Finding(topic=TOPIC, text=text)
    if killed and not clean:
        text = f"a killed and resumed run differs in {_named(killed)}"
        yield Finding(topic=TOPIC, text=text, is_fine=False, advice=KILLED_ADVICE)
    elif not killed:
        text = "a run killed in epoch 2 and resumed is bit-equal to them"
        yield Finding(topic=TOPIC, text=text)


def _run(spec: TrialSpec, address: Path, *, is_killed: bool = False) -> None:
    """Run a trial until its last epoch, then stop it or kill its process."""
    paths = TrialPaths(Path(spec.folder))

    def decide(report: Report) -> Decision:
        if report.epoch < EPOCHS:
            return Decision.CONTINUE
        holder = locks.holder(paths.lock)
        if is_killed and holder is not None:
            os.kill(holder.pid, signal.SIGKILL)
        return Decision.STOP

    env = {"WANDB_MODE": "disabled"}
    ended = run_single(spec, address, decide=decide, env=env)
    if ended.message and not is_killed:
        raise SweeperError(f"the trial does not run: {ended.message}")
    if not is_killed and not metrics_file.epochs(paths.metrics):
        raise SweeperError(f"the trial logged nothing: {spec.metric!r} is expected")


def _differences(one: TrialSpec, two: TrialSpec) -> tuple[list[str], int]:
    """Return the names of values that are not bit-equal, and the number compared."""
    first, second = (TrialPaths(Path(spec.folder)) for spec in (one, two))
    numbers, others = _numbers(first), _numbers(second)
    different = [
        name
        for name in {**numbers, **others}
        if not _is_same(numbers.get(name), others.get(name))
    ]
    compared = subprocess.run(
        [sys.executable, "-m", __spec__.name, str(first.last), str(second.last)],
        stdout=subprocess.PIPE,
        check=True,
    )
    weights: dict[str, bool] = json.loads(compared.stdout)
    different += [name for name, is_same in weights.items() if not is_same]
    return different, len(numbers) + len(weights)


def _numbers(paths: TrialPaths) -> dict[str, float]:
    return {
        f"{name}, epoch {epoch}": value
        for epoch, row in metrics_file.epochs(paths.metrics).items()
        for name, value in row.items()
    }


def _is_same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))


def _named(names: list[str]) -> str:
    """Return the first few names and the number of the others.

    >>> _named(["a", "b", "c", "d", "e"])
    'a; b; c and 2 more'
    """
    rest = len(names) - SHOWN
    return "; ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def main(paths: list[str]) -> None:
    """Print whether each weight is bit-equal in two checkpoints."""
    import torch

    def weights(path: str) -> Mapping[str, torch.Tensor]:
        if not Path(path).exists():
            return {}
        saved = torch.load(path, map_location="cpu", weights_only=False)
        return dict(saved.get("state_dict", {}))

    one, two = map(weights, paths)
    print(
        json.dumps(
            {
                name: name in one and name in two and torch.equal(one[name], two[name])
                for name in {**one, **two}
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])

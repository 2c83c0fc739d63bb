"""Whether a trial trains the same way twice, and after a kill.

It runs short trials in processes of their own and looks at what they left; it
changes nothing of the sweep.
"""

import math
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sweeper.errors import SweeperError
from sweeper.host import locks, metrics_file
from sweeper.host.paths import TrialPaths
from sweeper.planning import alone
from sweeper.planning.plan import Plan
from sweeper.project.points import representatives
from sweeper.protocol import Report
from sweeper.trial import Decision, TrialSpec

EPOCHS = 2  # the second is the one that a kill cuts
MAX_BATCHES = 4  # of each loader in an epoch
SHOWN = 3  # names of what differs


@dataclass(frozen=True, slots=True)
class Trace:
    """What a short trial left.

    Attributes:
        numbers: metric by "name, epoch N".
        weights: the module's state, by name.
    """

    numbers: Mapping[str, float]
    weights: Mapping[str, torch.Tensor]

    def differences(self, other: "Trace") -> tuple[str, ...]:
        """Names of all that is not bit-equal; what only one of them has, too."""
        numbers = [
            name
            for name in {**self.numbers, **other.numbers}
            if not _is_same(self.numbers.get(name), other.numbers.get(name))
        ]
        weights = [
            name
            for name in {**self.weights, **other.weights}
            if name not in self.weights
            or name not in other.weights
            or not torch.equal(self.weights[name], other.weights[name])
        ]
        return (*numbers, *weights)


def _is_same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What two clean runs and a killed one say.

    Attributes:
        clean: what differs between the clean runs.
        killed: what differs between the first clean run and the killed one.
        size: how many metrics and weights were compared.
    """

    clean: tuple[str, ...]
    killed: tuple[str, ...]
    size: int


def examine(plan: Plan, address: Path) -> Verdict:
    """Run the first point of a plan three times, once with a SIGKILL in epoch 2.

    Args:
        address: of a zygote of the plan's target.

    Raises:
        SweeperError: the trial does not run, or measures nothing.
    """
    params = representatives(plan.space)[0]
    with tempfile.TemporaryDirectory(prefix="sweeper-twins-") as folder:
        one, two, cut = (
            replace(
                alone.spec_of(plan, params, Path(folder) / name),
                max_batches=MAX_BATCHES,
            )
            for name in ("one", "two", "cut")
        )
        first, second = _clean(one, address), _clean(two, address)
        _run(cut, address, is_killed=True)
        killed = _clean(cut, address)
    return Verdict(
        clean=first.differences(second),
        killed=first.differences(killed),
        size=len(first.numbers) + len(first.weights),
    )


def _run(spec: TrialSpec, address: Path, *, is_killed: bool = False) -> alone.Ended:
    """End a trial in its last epoch, or kill its process there."""

    def decide(report: Report) -> Decision:
        if report.epoch < EPOCHS:
            return Decision.CONTINUE
        holder = locks.holder(TrialPaths(Path(spec.folder)).lock)
        if is_killed and holder is not None:
            os.kill(holder.pid, signal.SIGKILL)
        return Decision.STOP

    return alone.run(spec, address, decide=decide, env={"WANDB_MODE": "disabled"})


def _clean(spec: TrialSpec, address: Path) -> Trace:
    ended = _run(spec, address)
    if ended.message:
        raise SweeperError(f"the trial does not run: {ended.message}")
    trace = _trace(TrialPaths(Path(spec.folder)))
    if not trace.numbers:
        raise SweeperError(f"the trial logged nothing: {spec.metric!r} is expected")
    return trace


def _trace(paths: TrialPaths) -> Trace:
    weights: dict[str, Any] = {}
    if paths.last.exists():
        saved = torch.load(paths.last, map_location="cpu", weights_only=False)
        weights = dict(saved.get("state_dict", {}))
    numbers = {
        f"{name}, epoch {epoch}": value
        for epoch, row in metrics_file.epochs(paths.metrics).items()
        for name, value in row.items()
    }
    return Trace(numbers=numbers, weights=weights)


def lines(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """What was found, and what to do about it ("" where all is well)."""
    if verdict.clean:
        yield (
            f"two clean runs differ in {_named(verdict.clean)}",
            "something draws from a generator that nobody seeds, such as one made by "
            "np.random.default_rng() or random.Random() at each call, or a kernel of "
            "this device is not deterministic (try trainer.deterministic=true)",
        )
    else:
        yield f"two clean runs are bit-equal in {verdict.size} numbers and weights", ""
    if verdict.killed and not verdict.clean:
        yield (
            f"a killed and resumed run differs in {_named(verdict.killed)}",
            "some state is in no checkpoint: give it state_dict and load_state_dict "
            "in the module, the data module or a callback",
        )
    elif not verdict.killed:
        yield "a run killed in epoch 2 and resumed is bit-equal to them", ""


def _named(names: tuple[str, ...]) -> str:
    """The first few, and how many more.

    >>> _named(("a", "b", "c", "d", "e"))
    'a; b; c and 2 more'
    """
    rest = len(names) - SHOWN
    return "; ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")

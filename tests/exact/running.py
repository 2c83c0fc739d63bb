"""Runs the toy project as a trial, whole or cut, and compares what it leaves."""

import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sweeper.protocol import Answer, Decision, Message, Report, TrialSpec
from sweeper.trial import worker
from tests.exact import cutting
from tests.exact.cutting import Cut

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@dataclass
class History:
    """A channel that keeps reports, the last one of each epoch.

    Attributes:
        decide: the answer to the report of an epoch.
    """

    metrics: dict[int, dict[str, float]] = field(default_factory=dict)
    decide: Callable[[int], Decision] = lambda epoch: Decision.CONTINUE

    def ask(self, message: Message) -> Answer:
        assert isinstance(message, Report)
        self.metrics[message.epoch] = dict(message.metrics)
        return Answer(decision=self.decide(message.epoch))


def make_spec(folder: Path, overrides: Sequence[str], **keys: Any) -> TrialSpec:
    """The spec of one trial of the toy project in `folder`."""
    given: dict[str, Any] = {
        "target": "tests.exact.fits:train",
        "config": str(HERE / "conf" / "fit.yaml"),
        "project": str(ROOT),
        "metric": "val/loss",
        "mode": "min",
        "params": {},
        **keys,
    }
    return TrialSpec(
        id=folder.name,
        number=0,
        sweep="exact",
        overrides=tuple(overrides),
        seed=42,
        folder=str(folder),
        wandb={"mode": "none"},
        **given,
    )


def run(
    spec: TrialSpec, history: History, *, cut_at: int = -1, only: str = ""
) -> list[str]:
    """One attempt, cut at an event; the events that it went through.

    Args:
        cut_at: number of the event, -1 for none.
        only: the kind of event that is counted, "" for all.
    """
    events = cutting.expect(cut_at, only=only)
    with _process_state(), _cut_ends_it():
        outcome = worker.run_trial(spec, history.ask)
        is_cut = outcome.message.startswith("Cut")
        assert is_cut or outcome.event in ("finished", "paused"), outcome
    return events.names


@contextmanager
def _cut_ends_it() -> Iterator[None]:
    try:
        yield
    except Cut:
        return


@contextmanager
def _process_state() -> Iterator[None]:
    """What a trial's process changes for good."""
    threads, folder = torch.get_num_threads(), Path.cwd()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        os.chdir(folder)
        gc.collect()  # ends the loader workers of a cut fit: they hold its lock


def result(spec: TrialSpec) -> dict[str, Any]:
    """What the fit of a trial left."""
    loaded: dict[str, Any] = torch.load(
        Path(spec.folder) / "result.pt", weights_only=False
    )
    return loaded


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two results are not equal to the last bit."""
    if isinstance(one, Mapping):
        if set(one) != set(other):
            return [f"{place}: {sorted(map(str, one))} {sorted(map(str, other))}"]
        return [d for k in one for d in differences(one[k], other[k], f"{place}/{k}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{place}: {len(one)} and {len(other)} items"]
        pairs = zip(one, other, strict=True)
        return [
            d
            for i, (a, b) in enumerate(pairs)
            for d in differences(a, b, f"{place}/{i}")
        ]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        is_equal = torch.equal(one, other)
    else:
        is_equal = one == other or (one != one and other != other)
    return [] if is_equal else [f"{place}: {one} and {other}"]

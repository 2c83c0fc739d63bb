"""Trials of one batch, each in a process forked from a warm template.

They run as any trial does, on the CPU and without a journal; nothing of them is kept.
"""

import functools
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweeper.host.paths import TrialPaths
from sweeper.processes import slot, template
from sweeper.reports import Report
from sweeper.trial import Decision, Demand, Failure, FailureKind, State, TrialSpec

LIMIT_SECONDS = 180.0
START_SECONDS = 60.0
CPU_ONLY = {"CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "disabled"}
# What a project that demands a GPU says of a machine without one.
_NEEDS_GPU = re.compile(r"cuda|\bgpus?\b|nccl|accelerator|nvidia", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a trial of one batch ended.

    Attributes:
        message: why it failed; "" where it did not.
        num_reports: epochs in which it measured the objective.
        is_certain: whether the sweep's own trials would fail for the same reason; a
            batch on the CPU that takes too long or too much memory says nothing.
        traceback: the last one, "" for none.
    """

    message: str = ""
    num_reports: int = 0
    is_certain: bool = False
    traceback: str = ""


@dataclass
class _OneTrial:
    """The journal of a slot with one trial, which it stops at its first report."""

    spec: TrialSpec
    ended: Ended = field(default_factory=Ended)

    def claim(self, slot: str, demand: Demand | None = None) -> Demand | None:
        return None

    def start(self, slot: str, card: str = "") -> TrialSpec:
        return self.spec

    def report(self, slot: str, report: Report) -> Decision:
        counted = self.ended.num_reports + bool(report.values)
        self.ended = replace(self.ended, num_reports=counted)
        return Decision.STOP

    def finish(self, slot: str) -> State:
        return State.COMPLETE

    def pause(self, slot: str) -> None:
        self.ended = replace(self.ended, message="the disk is full")

    def fail(self, slot: str, failure: Failure) -> State:
        is_error = failure.kind is FailureKind.ERROR
        is_certain = is_error and not _NEEDS_GPU.search(failure.message)
        self._failed(failure.message, is_certain=is_certain)
        return State.FAILED

    def abort(self, slot: str, message: str) -> None:
        self._failed(message, is_certain=True)

    def _failed(self, message: str, *, is_certain: bool) -> None:
        error = TrialPaths(Path(self.spec.folder)).error
        self.ended = replace(
            self.ended,
            message=message,
            is_certain=is_certain,
            traceback=error.read_text(encoding="utf-8") if error.exists() else "",
        )


def attempt(spec: TrialSpec, address: Path) -> Ended:
    """Run a trial up to its first report, with one batch of each loader.

    Args:
        spec: of a trial in a folder of its own.
        address: of a template, which may still be importing.

    Raises:
        OSError: there is no template.
    """
    journal = _OneTrial(
        replace(spec, max_batches=1, timeout_seconds=LIMIT_SECONDS, gpus=0.0)
    )
    slot.run(
        "preflight",
        journal,
        demand=Demand(cpus=1.0),
        connect=functools.partial(template.await_start, address, START_SECONDS),
        env=CPU_ONLY,
    )
    return journal.ended

"""Trials of one batch, each alone in a process of its own.

They run as any trial does, on the CPU and without a journal; nothing of them is kept.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.host.paths import TrialPaths
from sweeper.planning import alone
from sweeper.protocol import Report
from sweeper.trial import Decision, FailureKind, TrialSpec

LIMIT_SECONDS = 180.0
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


def needs_gpu(message: str) -> bool:
    """Return whether an error may be due to a machine without a GPU."""
    return bool(_NEEDS_GPU.search(message))


def attempt(spec: TrialSpec, address: Path) -> Ended:
    """Run a trial up to its first report, with one batch of each loader.

    Args:
        spec: of a trial in a folder of its own.
        address: of a zygote, which may still be importing.

    Raises:
        SweeperError: there is no zygote.
    """
    reports: list[Report] = []

    def stop(report: Report) -> Decision:
        reports.append(report)
        return Decision.STOP

    ended = alone.run(
        replace(spec, max_batches=1, timeout_seconds=LIMIT_SECONDS, gpus=0.0),
        address,
        decide=stop,
        env=CPU_ONLY,
    )
    is_error = ended.kind is FailureKind.ERROR
    error = TrialPaths(Path(spec.folder)).error
    return Ended(
        message=ended.message,
        num_reports=sum(bool(report.values) for report in reports),
        is_certain=ended.is_fatal or (is_error and not needs_gpu(ended.message)),
        traceback=error.read_text(encoding="utf-8") if error.exists() else "",
    )

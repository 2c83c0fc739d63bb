"""What a trial would meet in the cloud, met here: one batch of each kind of trial.

Every choice of groups is composed, the target imported, one batch trained and one
validated on the CPU, and the objective looked for among what is logged.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from json import loads
from pathlib import Path

from optuna.trial import TrialState, create_trial

from sweeper.callbacks import wandb
from sweeper.host.paths import SweepPaths
from sweeper.planning.plan import Plan
from sweeper.project import check
from sweeper.scheduling.launch import Launch
from sweeper.scheduling.spec import make_spec
from sweeper.search_space.space import VARIANT
from sweeper.trial import Demand, Params, TrialSpec

GIB = 2**30
LOW_DISK_BYTES = 2 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        message: what was found; what to do, where it is not fine.
    """

    what: str
    is_fine: bool
    message: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.is_fine else 'FAIL'} {self.what}: {self.message}"


def preflight(plan: Plan) -> Iterator[Finding]:
    """Everything in turn, cheap things first."""
    yield disk(plan)
    yield login(plan)
    yield from batches(plan)


def disk(plan: Plan) -> Finding:
    """Whether there is space for the sweep."""
    folder = next(p for p in (plan.folder, *plan.folder.parents) if p.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / GIB:.1f} GiB free at {folder}"
    is_fine = free >= LOW_DISK_BYTES
    hint = "" if is_fine else "; each trial keeps checkpoints: free some space"
    return Finding(what="disk", is_fine=is_fine, message=text + hint)


def login(plan: Plan) -> Finding:
    """Whether W&B would be reached; `offline` and `none` need nothing."""
    mode = wandb.mode(plan.experiment.wandb.mode)
    if mode != "online":
        return Finding(what="W&B", is_fine=True, message=mode)
    if not wandb.has_login():
        text = "online without a login: run `wandb login` or set WANDB_API_KEY"
        return Finding(what="W&B", is_fine=False, message=text)
    reason = wandb.unreachable()
    text = f"no answer: {reason}; trials would go on offline" if reason else "online"
    return Finding(what="W&B", is_fine=not reason, message=text)


def batches(plan: Plan) -> Iterator[Finding]:
    """One batch of training and validation for each choice of groups."""
    points = check.representatives(plan.space)
    with tempfile.TemporaryDirectory(prefix="sweeper-preflight-") as folder:
        specs = [_spec(plan, params, Path(folder)) for params in points]
        process = subprocess.Popen(
            [sys.executable, "-m", "sweeper.planning.preflight_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "disabled"},
            text=True,
        )
        assert process.stdin is not None  # noqa: S101  # both are pipes
        assert process.stdout is not None  # noqa: S101
        with process:
            process.stdin.write("".join(f"{spec.to_json()}\n" for spec in specs))
            process.stdin.close()
            for params, spec in zip(points, specs, strict=True):
                line = process.stdout.readline()
                answer = loads(line) if line else {"message": "the process ended"}
                yield _finding(plan, params, spec, answer)


def _spec(plan: Plan, params: Params, folder: Path) -> TrialSpec:
    """The spec of a point, for one batch in a folder that goes."""
    demand = Demand(cpus=1.0)
    row = create_trial(
        state=TrialState.WAITING,
        params=dict(params),
        distributions=plan.space.distributions,
        user_attrs={"seed": plan.experiment.seeds[0]},
    )
    made = make_spec(
        plan.experiment,
        plan.space,
        Launch(demand=demand, slots=1, seed_key=plan.seed_key, wandb_mode="none"),
        row,
        demand=demand,
        paths=SweepPaths(folder),
    )
    return replace(made, max_batches=1)


def _finding(
    plan: Plan, params: Params, spec: TrialSpec, answer: Mapping[str, object]
) -> Finding:
    chosen = {p.name for p in plan.space.parameters if p.is_group or p.name == VARIANT}
    names = [f"{k}={v}" for k, v in params.items() if k in chosen]
    what = " ".join(names) or "one batch"
    metric = ", ".join(o.metric for o in plan.experiment.objectives)
    if answer.get("event") != "finished":
        return Finding(what=what, is_fine=False, message=str(answer.get("message")))
    if not answer.get("num_reports"):
        text = f"ran, but reported no {metric!r}: it must be logged each epoch"
        return Finding(what=what, is_fine=False, message=text)
    return Finding(what=what, is_fine=True, message=f"trains, validates, logs {metric}")

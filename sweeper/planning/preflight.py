"""What a trial would meet in the cloud, met here: one batch of each kind of trial.

Every choice of groups is composed, the target imported, one batch trained and one
validated on the CPU, and the objective looked for among what is logged.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sweeper.host import wandb
from sweeper.host.paths import SweepPaths, write_text
from sweeper.planning import alone, batches
from sweeper.planning.batches import Ended
from sweeper.planning.plan import Plan
from sweeper.project import code
from sweeper.project.points import representatives
from sweeper.protocol import Imported
from sweeper.scheduling import halt
from sweeper.text import GIB
from sweeper.trial import Params, canonical

LOW_DISK_BYTES = 2 * GIB
TRIALS_A_CHOICE = 4  # up to so many, its first trial is the check
CPUS_A_BATCH = 4
IMPORT = "import of the target"
TOTAL_SECONDS = 300.0  # that all batches before a sweep may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        message: what was found; what to do, where it is not fine.
        is_certain: whether the sweep's trials would surely meet it.
        traceback: of an error in the project, "" for none.
    """

    what: str
    is_fine: bool
    message: str
    is_certain: bool = False
    traceback: str = ""

    def __str__(self) -> str:
        return f"{'ok  ' if self.is_fine else 'FAIL'} {self.what}: {self.message}"


def preflight(plan: Plan, address: Path) -> Iterator[Finding]:
    """Everything in turn, cheap things first.

    Args:
        address: of a zygote of the plan's target.
    """
    yield disk(plan)
    yield login(plan)
    for _, finding in _batches(plan, representatives(plan.space), address):
        yield finding


def before_run(plan: Plan, address: Path) -> list[Finding]:
    """What was found before the first trial of a sweep.

    A choice that was fine is not looked at again, until the project's code or what is
    fixed in the experiment changes.
    """
    found = [disk(plan), login(plan)]
    kept = SweepPaths(plan.folder).preflight
    stamp = _stamp(plan)
    fine = _read(kept, stamp)
    owed = [p for p in choices(plan) if choice_key(plan, p) not in fine]
    deadline = time.monotonic() + TOTAL_SECONDS
    for params, finding in _batches(plan, owed, address, deadline=deadline):
        found.append(finding)
        if finding.is_fine:
            fine.append(choice_key(plan, params))
            text = json.dumps({"stamp": stamp, "fine": fine}, indent=1)
            write_text(kept, text + "\n")
    return found


def imported(plan: Plan, result: Imported) -> list[Finding]:
    """Return what is wrong with the import of the target, if anything is."""
    if not result.error:
        return []
    can_be_fine = plan.experiment.resources.gpus != 0 and batches.needs_gpu(
        result.error
    )
    finding = Finding(
        what=IMPORT,
        is_fine=False,
        message=result.error,
        is_certain=not can_be_fine,
        traceback=result.traceback,
    )
    return [finding]


def admit(plan: Plan, found: Sequence[Finding], *, say: Callable[[str], None]) -> None:
    """Tell what is not fine, and stop a sweep whose trials would fail.

    Raises:
        SweeperError: an error that is certain; the tracebacks are in `preflight.txt`.
    """
    wrong = [finding for finding in found if not finding.is_fine]
    for finding in wrong:
        if not finding.is_certain:
            say(f"preflight: {finding.what}: {finding.message}")
    certain = [finding for finding in wrong if finding.is_certain]
    if not certain:
        return
    traces = [f"{f.what}\n{f.traceback}" for f in certain if f.traceback]
    path = SweepPaths(plan.folder).preflight_errors
    write_text(path, "\n".join(traces))
    raise halt.located(plan.experiment, _refusal(certain, path))


def _refusal(certain: Sequence[Finding], path: Path) -> str:
    """One error alone keeps its own words, which may name a line of the file."""
    if certain[0].what == IMPORT:
        text = certain[0].message
        return f"{text}\n  no trial was started; output of the import: {path}"
    messages = list(dict.fromkeys(finding.message for finding in certain))
    what = ", ".join(finding.what for finding in certain)
    if len(messages) == 1:
        text = f"{messages[0]}\n  met by one batch of: {what}"
    else:
        text = "one batch was tried of each choice:\n" + "\n".join(
            f"  {finding.what}: {finding.message}" for finding in certain
        )
    return (
        f"{text}\n  no trial was started; traceback: {path}\n"
        "  mend it and give the command again, or start without: --no-preflight"
    )


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
        text = (
            "online without a login: run `wandb login` or set WANDB_API_KEY; until "
            "then trials go on offline"
        )
        return Finding(what="W&B", is_fine=False, message=text)
    reason = wandb.unreachable()
    text = f"no answer: {reason}; trials would go on offline" if reason else "online"
    return Finding(what="W&B", is_fine=not reason, message=text)


def choices(plan: Plan) -> list[Params]:
    """A point for each choice of groups that is looked at before a run."""
    wanted = plan.experiment.preflight
    if wanted is False:
        return []
    points = representatives(plan.space)
    is_small = (plan.num_trials or 0) <= TRIALS_A_CHOICE * len(points)
    return [] if wanted == "auto" and is_small else points


def _batches(
    plan: Plan,
    points: Sequence[Params],
    address: Path,
    *,
    deadline: float | None = None,
) -> Iterator[tuple[Params, Finding]]:
    """One batch of training and validation for each point, until the deadline."""
    # In the scratch folder, which goes with a driver that is killed.
    with tempfile.TemporaryDirectory(dir=address.parent) as folder:

        def attempt(params: Params) -> Finding:
            if deadline is not None and time.monotonic() > deadline:
                text = f"not tried: {TOTAL_SECONDS:g} s are over"
                return _bad(plan, params, Ended(message=text))
            ended = batches.attempt(alone.spec_of(plan, params, Path(folder)), address)
            return _finding(plan, params, ended)

        with ThreadPoolExecutor(max_workers=_workers()) as threads:
            yield from zip(points, threads.map(attempt, points), strict=True)


def _workers() -> int:
    """How many batches are tried at once: each has loader workers of its own."""
    return max(1, (os.cpu_count() or 1) // CPUS_A_BATCH)


def _finding(plan: Plan, params: Params, ended: Ended) -> Finding:
    metric = ", ".join(o.metric for o in plan.experiment.objectives)
    if ended.message:
        return _bad(plan, params, ended)
    if not ended.num_reports:
        text = f"ran, but reported no {metric!r}: it must be logged each epoch"
        return _bad(plan, params, Ended(message=text))
    text = f"trains, validates, logs {metric}"
    return Finding(what=_name(plan, params), is_fine=True, message=text)


def _bad(plan: Plan, params: Params, ended: Ended) -> Finding:
    return Finding(
        what=_name(plan, params),
        is_fine=False,
        message=ended.message,
        is_certain=ended.is_certain,
        traceback=ended.traceback,
    )


def _name(plan: Plan, params: Params) -> str:
    """The choice of groups of a point, in words."""
    names = [f"{k}={v}" for k, v in _choice(plan, params).items()]
    return " ".join(names) or "one batch"


def _choice(plan: Plan, params: Params) -> Params:
    """Return the values that decide which keys the config has."""
    shaping = {p.name for p in plan.space.parameters if p.shapes_config}
    return {name: value for name, value in params.items() if name in shaping}


def choice_key(plan: Plan, params: Params) -> str:
    """Return what tells a tried point from the others, over starts."""
    return canonical([_choice(plan, params), sorted(params)])


def _stamp(plan: Plan) -> str:
    """Changes with the project's code and with what is fixed in the experiment."""
    experiment = plan.experiment
    fixed = {
        "code": code.version(experiment.project),
        "target": experiment.target,
        "config": experiment.config,
        "overrides": list(experiment.overrides),
        "variants": {name: list(v) for name, v in experiment.variants.items()},
        "env": dict(experiment.env),
        "metrics": [objective.metric for objective in experiment.objectives],
    }
    return hashlib.sha256(canonical(fixed).encode()).hexdigest()[:16]


def _read(kept: Path, stamp: str) -> list[str]:
    """Choices that were fine before; [] where they were of other code."""
    if not kept.exists():
        return []
    data = json.loads(kept.read_text(encoding="utf-8"))
    fine: list[str] = data["fine"] if data["stamp"] == stamp else []
    return fine

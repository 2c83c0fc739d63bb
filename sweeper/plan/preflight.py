"""The preflight of a sweep: checks of the machine, and one batch of each choice.

The target is imported. Every choice of groups is composed, trained for one batch and
validated for one batch on the CPU. It must log the objective.
"""

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from sweeper.journal import budget
from sweeper.journal.record import Demand, TrialRecord
from sweeper.journal.run_context import RunContext
from sweeper.journal.spec import make_spec
from sweeper.packing.memory import settings_stamp
from sweeper.plan import checks
from sweeper.plan.checks import Finding
from sweeper.plan.plan import Plan
from sweeper.project import slot, zygote_client
from sweeper.project.points import representatives
from sweeper.protocol import (
    Decision,
    Ended,
    FailureKind,
    Imported,
    Params,
    Report,
    TrialSpec,
)
from sweeper.system import code_version
from sweeper.system.identity import canonical
from sweeper.system.paths import SweepPaths, TrialPaths, write_text

TRIALS_A_CHOICE = 4  # up to this number the first trial is the check
CPUS_A_BATCH = 4  # each batch has its own loader workers
IMPORT = "import of the target"
BATCH_SECONDS = 180.0
TOTAL_SECONDS = 300.0  # limit for all batches before a sweep
DEMAND = Demand(cpus=1.0)
CPU_ONLY = {"CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "disabled"}
# Words in the error of a project that needs a GPU, on a machine without one.
_NEEDS_GPU = re.compile(r"cuda|\bgpus?\b|nccl|accelerator|nvidia", re.IGNORECASE)


def preflight(plan: Plan, address: Path) -> Iterator[Finding]:
    """Yield every finding, cheap checks first.

    Args:
        address: socket of a zygote of the plan's target.
    """
    yield from _machine(plan)
    for _, finding in _batches(plan, representatives(plan.space), address):
        yield finding


def before_run(plan: Plan, imported: Imported, address: Path) -> list[Finding]:
    """Return the findings before the first trial of a sweep.

    A choice that has passed is tried again only after a change of the project's code
    or of the experiment's fixed settings.
    """
    findings = []
    if imported.error:
        may_be_fine = plan.experiment.resources.gpus != 0 and needs_gpu(imported.error)
        finding = Finding(
            topic=IMPORT,
            text=imported.error,
            is_fine=False,
            is_certain=not may_be_fine,
            traceback=imported.traceback,
        )
        findings.append(finding)
        if finding.is_certain:
            return findings
    findings += _machine(plan)
    path = SweepPaths(plan.folder).preflight
    stamp = _stamp(plan)
    fine = _read(path, stamp)
    missing = [p for p in choices(plan) if choice_key(plan, p) not in fine]
    deadline = time.monotonic() + TOTAL_SECONDS
    for params, finding in _batches(plan, missing, address, deadline=deadline):
        findings.append(finding)
        if finding.is_fine:
            fine.append(choice_key(plan, params))
            text = json.dumps({"stamp": stamp, "fine": fine}, indent=1)
            write_text(path, text + "\n")
    return findings


def admit(
    plan: Plan, findings: Sequence[Finding], *, say: Callable[[str], None]
) -> None:
    """Show the findings that are not fine, and refuse a sweep whose trials would fail.

    Raises:
        SweeperError: a finding is certain; the tracebacks are in `preflight.txt`.
    """
    certain = []
    for finding in findings:
        if finding.is_certain and not finding.is_fine:
            certain.append(finding)
        elif not finding.is_fine:
            say(f"preflight: {finding}")
    if certain:
        traces = [f"{f.topic}\n{f.traceback}" for f in certain if f.traceback]
        path = SweepPaths(plan.folder).preflight_errors
        write_text(path, "\n".join(traces))
        raise budget.located(plan.experiment, _refusal(certain, path))


def _refusal(certain: Sequence[Finding], path: Path) -> str:
    """Return the message; a single error is quoted, since it may name a line."""
    if certain[0].topic == IMPORT:
        text = certain[0].text
        return f"{text}\n  no trial was started; output of the import: {path}"
    messages = {finding.text for finding in certain}
    if len(messages) == 1:
        topics = ", ".join(finding.topic for finding in certain)
        text = f"{certain[0].text}\n  met by one batch of: {topics}"
    else:
        tried = "\n".join(f"  {finding}" for finding in certain)
        text = f"one batch was tried of each choice:\n{tried}"
    return (
        f"{text}\n  no trial was started; traceback: {path}\n"
        "  fix it and run the same command again, or skip the check: --no-preflight"
    )


def _machine(plan: Plan) -> list[Finding]:
    return [checks.disk(plan.folder), checks.login(plan.experiment.wandb.mode)]


def choices(plan: Plan) -> list[Params]:
    """Return a point for each choice of groups that is to be tried before a run."""
    wanted = plan.experiment.preflight
    if wanted is False:
        return []
    points = representatives(plan.space)
    is_small = plan.num_trials <= TRIALS_A_CHOICE * len(points)
    return [] if wanted == "auto" and is_small else points


def choice_key(plan: Plan, params: Params) -> str:
    """Return the name of a choice, equal in every start."""
    return canonical([_choice(plan, params), sorted(params)])


def _choice(plan: Plan, params: Params) -> Params:
    """Return the values that decide which keys the config has."""
    shaping = {p.name for p in plan.space.parameters if p.shapes_config}
    return {name: value for name, value in params.items() if name in shaping}


def _batches(
    plan: Plan,
    points: Sequence[Params],
    address: Path,
    *,
    deadline: float | None = None,
) -> Iterator[tuple[Params, Finding]]:
    """Yield the finding of one batch of each point; skip those past the deadline."""
    # In the scratch folder, which is removed even after a kill of the driver.
    with tempfile.TemporaryDirectory(dir=address.parent) as folder:

        def attempt(params: Params) -> Finding:
            if deadline is not None and time.monotonic() > deadline:
                text = f"not tried: {TOTAL_SECONDS:g} s are over"
                return Finding(topic=_name(plan, params), text=text, is_fine=False)
            return _try(plan, params, Path(folder), address)

        workers = max(1, (os.cpu_count() or 1) // CPUS_A_BATCH)
        with ThreadPoolExecutor(max_workers=workers) as threads:
            yield from zip(points, threads.map(attempt, points), strict=True)


def _name(plan: Plan, params: Params) -> str:
    names = [f"{name}={value}" for name, value in _choice(plan, params).items()]
    return " ".join(names) or "one batch"


def _try(plan: Plan, params: Params, folder: Path, address: Path) -> Finding:
    """Run a trial up to its first report, with one batch of each loader, on the CPU."""
    reports: list[Report] = []

    def stop(report: Report) -> Decision:
        reports.append(report)
        return Decision.STOP

    spec = single_spec(plan, params, folder)
    ended = run_single(
        replace(spec, max_batches=1, timeout_seconds=BATCH_SECONDS, gpus=0.0),
        address,
        decide=stop,
        env=CPU_ONLY,
    )
    metrics = ", ".join(o.metric for o in plan.experiment.objectives)
    is_reported = any(report.values for report in reports)
    text = ended.message or (
        f"trains, validates, logs {metrics}"
        if is_reported
        else f"ran, but reported no {metrics!r}: it must be logged each epoch"
    )
    # On the CPU, a timeout or lack of memory does not show that trials would fail.
    is_error = ended.kind == FailureKind.ERROR and not needs_gpu(ended.message)
    error = TrialPaths(Path(spec.folder)).error
    return Finding(
        topic=_name(plan, params),
        text=text,
        is_fine=is_reported and not ended.message,
        is_certain=ended.event == "fatal" or is_error,
        traceback=error.read_text(encoding="utf-8") if error.exists() else "",
    )


def needs_gpu(message: str) -> bool:
    """Return whether an error may be due to a machine without a GPU."""
    return bool(_NEEDS_GPU.search(message))


def _stamp(plan: Plan) -> str:
    experiment = plan.experiment
    return settings_stamp(
        experiment,
        code=code_version.version(experiment.project),
        env=dict(experiment.env),
        metrics=[objective.metric for objective in experiment.objectives],
    )


def _read(path: Path, stamp: str) -> list[str]:
    """Return the choices that passed earlier with the same code and settings."""
    if not path.exists():
        return []
    data = json.loads(path.read_text(encoding="utf-8"))
    fine: list[str] = data["fine"] if data["stamp"] == stamp else []
    return fine


# ---- a single trial outside a sweep, in a process forked from a zygote


def run_single(
    spec: TrialSpec,
    address: Path,
    *,
    decide: Callable[[Report], Decision],
    env: Mapping[str, str],
) -> Ended:
    """Run a trial to its end.

    Args:
        spec: the spec of a trial in a temporary folder.
        address: socket of a zygote, which may still be importing.
        decide: returns the decision on each report.
        env: extra environment variables of the trial's process.

    Raises:
        SweeperError: the zygote does not answer.
    """
    zygote = zygote_client.await_start(address)
    ended = slot.run_alone(spec, zygote, decide=decide, env=env)
    is_paused = ended.event == "paused"
    return replace(ended, message="the disk is full") if is_paused else ended


def single_spec(plan: Plan, params: Params, folder: Path) -> TrialSpec:
    """Return the spec of a point in a temporary folder, without a W&B run."""
    context = RunContext(
        demand=DEMAND, slots=1, seed_key=plan.seed_key, wandb_mode="none"
    )
    return make_spec(
        plan.experiment,
        plan.space,
        context,
        TrialRecord.new(params, seed=plan.experiment.seeds[0]),
        demand=DEMAND,
        paths=SweepPaths(folder),
    )

"""One attempt of a trial in this process, from its spec to its end."""

import logging
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, SupportsFloat

from sweeper.protocol import Decision, Ended, FailureKind, Message, Report, TrialSpec
from sweeper.system import disk, locks, metrics_file, process, redaction, targets
from sweeper.system.errors import MetricError
from sweeper.system.identity import derive
from sweeper.system.paths import (
    TrialPaths,
    drop_torn_tail,
    remove_stale_temporaries,
    write_text,
)
from sweeper.trial import (
    active_trial,
    causes,
    endings,
    importing,
    job,
    one_batch,
    program,
    usage,
    wandb_run,
)
from sweeper.trial.active_trial import ActiveTrial
from sweeper.trial.compose import to_resolved
from sweeper.trial.exact_resume import Paused

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

LOCK_WAIT_SECONDS = 60.0
DISK_PAUSE_SECONDS = 2.0  # a file that did not fit may have left space for others


def run_trial(
    spec: TrialSpec,
    ask: Callable[[Message], Message],
    *,
    await_turn: Callable[[], object] = lambda: None,
) -> Ended:
    """Run the target of one trial in this process, to its end or to a pause.

    The folder's lock is held throughout: an attempt that a dead driver left behind
    ends before this one starts to write.

    Args:
        ask: sends a report and returns its answer.
        await_turn: returns when the target may be called.
    """
    paths = TrialPaths(Path(spec.folder))
    with locks.hold(paths.lock, wait_seconds=LOCK_WAIT_SECONDS) as other:
        if other is not None:
            message = f"{paths.folder}: still in use by process {other.pid}"
            return Ended(event="failed", kind=FailureKind.LOST, message=message)
        trial = ActiveTrial(
            spec=spec, ask=ask, measure=usage.Meter().read, await_turn=await_turn
        )
        active_trial.activate(trial)
        try:
            outcome = _attempt(trial)
        finally:
            active_trial.activate(None)
        if trial.run is not None:
            _close_run(trial, outcome)
        return outcome


def _attempt(trial: ActiveTrial) -> Ended:
    """Run the target; return how that ended."""
    error = _run_target(trial)
    if isinstance(error, Paused):
        return Ended(event="finished" if trial.is_stopped else "paused")
    if error is None or endings.is_success(error):
        error = _missing_value(trial)
    if error is not None:
        if trial.decision is Decision.PAUSE and trial.is_answered_elsewhere:
            return Ended(event="paused")  # a forked process has ended for it
        return _of_child(ended_by(error, trial.spec), trial)
    if trial.decision is Decision.PAUSE and not trial.has_trainer:
        return Ended(event="paused")
    return Ended(event="finished")


def _missing_value(trial: ActiveTrial) -> MetricError | None:
    """Return the error of a trial that has ended without an objective.

    One batch of a preflight shows that only if a validation logged other names.
    """
    is_shown = trial.is_validated or not trial.spec.max_batches
    name = _missing_objective(trial)
    if not name or not is_shown or trial.decision is Decision.PAUSE:
        return None
    return MetricError(active_trial.unknown_metric(name, trial.logged))


def _missing_objective(trial: ActiveTrial) -> str:
    """Return an objective that no epoch has; "" if some epoch has all of them."""
    names = (trial.spec.metric, *trial.spec.more_metrics)
    rows = metrics_file.epochs(trial.paths.metrics).values()
    if any(row.keys() >= set(names) for row in rows):
        return ""
    return next((n for n in names if all(n not in row for row in rows)), names[0])


def _run_target(trial: ActiveTrial) -> BaseException | None:
    """Return what the target raised, the standard streams put back in place."""
    stdout, stderr = sys.stdout, sys.stderr
    try:
        prepare(trial.spec, trial.paths)
        _call_target(trial)
    except BaseException as error:  # the one edge of a trial's process
        return error
    finally:
        process.restore_streams(stdout, stderr, log=trial.paths.log)
    return None


def ended_by(error: BaseException, spec: TrialSpec) -> Ended:
    """Return how an attempt that `error` ended is recorded; write its traceback.

    A full disk of the sweep's folder pauses the trial: it is not the trial's failure.
    """
    paths, project = TrialPaths(Path(spec.folder)), Path(spec.project)
    if disk.has_filled(error, paths.folder.parents[1]):
        return _wait_for_space(error, paths)
    if isinstance(error, program.ProgramError):  # its traceback is in the log
        trace = error.output
        outcome = endings.of_program(error.code, trace, project=project)
    else:
        trace = causes.printed(error)
        outcome = endings.of_exception(error, project=project)
        if outcome.event == "failed":
            print(trace, end="", file=sys.stderr)
    try:
        write_text(paths.error, trace)
    except OSError as unwritable:  # such as a folder of another user's
        log.warning("%s: the traceback is not saved: %s", paths.error, unwritable)
    return outcome


def _of_child(outcome: Ended, trial: ActiveTrial) -> Ended:
    """Add a hint to the failure of a population's child that never began."""
    if trial.parent is None or any(trial.paths.resume.rglob("*.ckpt")):
        return outcome
    hint = (
        f"it starts from the weights of {trial.parent.folder.name}; what shapes them "
        "belongs in scheduler: fixed"
    )
    message = f"{outcome.message} ({hint})"
    return replace(outcome, message=message)


def _wait_for_space(error: BaseException, paths: TrialPaths) -> Ended:
    """Pause a trial that the disk ended: it is not the trial's failure."""
    log.warning("%s: waiting for space", error)
    time.sleep(DISK_PAUSE_SECONDS)
    disk.wait(paths.folder, log.warning)
    return Ended(event="paused", message=f"{type(error).__name__}: {error}")


def _close_run(trial: ActiveTrial, outcome: Ended) -> None:
    """Write to the trial's W&B run how it ended."""
    assert trial.run is not None  # noqa: S101  # the caller has looked
    spec, metrics = trial.spec, trial.paths.metrics
    best = metrics_file.best(metrics, metric=spec.metric, mode=spec.mode)
    values = [row.get(spec.metric) for row in metrics_file.epochs(metrics).values()]
    status, reason = "complete", ""
    if outcome.event == "paused":
        status, reason = "paused", "the sweep was stopped"
    elif outcome.event != "finished":
        status, reason = "failed", f"{outcome.kind}: {outcome.message}"
    elif best is None:
        status, reason = "failed", f"{spec.metric} was never finite"
    elif trial.decision is Decision.STOP:
        status, reason = "pruned", "the scheduler"
    trial.run.close(
        status=status,
        stop_reason=reason,
        best=best,
        others=_others(trial, 0 if best is None else best[0]),
        last=next((v for v in reversed(values) if v is not None), None),
        peak_memory_mib=usage.peak_memory_mib(),
    )


def _others(trial: ActiveTrial, epoch: int) -> Mapping[str, float]:
    """Return the objectives after the first one, as an epoch measured them."""
    row = metrics_file.epochs(trial.paths.metrics).get(epoch, {})
    return {name: row[name] for name in trial.spec.more_metrics if name in row}


def prepare(spec: TrialSpec, paths: TrialPaths) -> None:
    """Bring this process into the state that every attempt of the trial starts in."""
    import torch

    for folder in (paths.checkpoints, *paths.fits, paths.artifacts):
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(folder)
    remove_stale_temporaries(paths.folder)
    drop_torn_tail(paths.metrics)
    drop_torn_tail(paths.saved)
    write_text(paths.spec, spec.to_json())
    os.environ.update(spec.env)
    os.environ["SWEEPER_TRIAL"] = spec.id
    if any(paths.resume.rglob("*.ckpt")) or spec.lineage is not None:
        # A project that saves modules in its hyperparameters could not resume.
        os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    targets.put_on_path(Path(spec.project))
    os.chdir(spec.folder if spec.chdir else spec.project)
    _seed(derive(spec.seed, "import"))
    if not torch.cuda.is_available():
        torch.set_num_threads(spec.threads)
    elif spec.memory_fraction < 1:
        torch.cuda.set_per_process_memory_fraction(spec.memory_fraction)


def _seed(seed: int) -> None:
    """Seed the global random number generators."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _call_target(trial: ActiveTrial) -> None:
    spec = trial.spec
    with importing.as_script(spec.target, Path(spec.project)):
        _call(trial, is_program=targets.is_program(spec.target))


def _call(trial: ActiveTrial, *, is_program: bool) -> None:
    spec = trial.spec
    if not is_program:
        trial.run = wandb_run.start(spec)  # before the target may import wandb's names
    target = None if is_program else importing.load(spec.target)
    _seed(derive(spec.seed, "trial"))  # the import may have drawn numbers
    composed = job.compose(
        job.Source(
            config=Path(spec.config), project=Path(spec.project), target=spec.target
        ),
        spec.overrides,
        output_dir=Path(spec.folder),
        number=spec.number,
    )
    resolved = save_config(composed.config, trial.paths)
    if target is not None:
        if spec.max_batches:
            one_batch.use_cpu()
        _describe(trial, resolved)
        trial.await_turn()
        with process.forked_here():
            value = composed.call(target)
        if value is not None and _missing_objective(trial):
            _report_returned(trial, value)
        return
    trial.await_turn()
    try:
        program.run(trial)  # opens the run in its own process, if at all
    finally:
        trial.run = wandb_run.start(spec)
        _describe(trial, resolved)


def _describe(trial: ActiveTrial, config: Mapping[str, object]) -> None:
    if trial.run is not None:
        trial.run.describe(wandb_run.description(trial.spec, config))


def save_config(config: "DictConfig", paths: TrialPaths) -> dict[str, object]:
    """Write the composed config, interpolations resolved, secrets hidden; return it."""
    from omegaconf import OmegaConf

    hidden = dict.fromkeys(redaction.secrets(os.environ), redaction.HIDDEN)
    resolved = redaction.redacted(to_resolved(config), hidden)
    assert isinstance(resolved, dict)  # noqa: S101  # of a DictConfig
    write_text(paths.config, OmegaConf.to_yaml(OmegaConf.create(resolved)))
    return resolved


def _report_returned(trial: ActiveTrial, value: object) -> None:
    """Report the value that the target returned, as that of its last epoch.

    It is the convention of Hydra's sweepers: a number, or one for each objective.

    Args:
        value: a number, a 0-dimensional tensor or array, a list of them in the order
            of the objectives, or a mapping with their names.

    Raises:
        MetricError: it is something else, or an objective is missing.
    """
    names = (trial.spec.metric, *trial.spec.more_metrics)
    if isinstance(value, Mapping):
        metrics = {n: _number(value[n], value) for n in names if n in value}
    else:
        if getattr(value, "ndim", 0) == 1:  # an array or a tensor of several values
            value = value.tolist()  # type: ignore[attr-defined]  # as it has `ndim`
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        values = list(value) if is_list else [value]  # type: ignore[call-overload]
        if len(values) != len(names):
            raise MetricError(
                f"objective: the target returned {len(values)} values; it must return "
                f"one for each objective: {', '.join(names)}"
            )
        metrics = {n: _number(v, value) for n, v in zip(names, values, strict=True)}
    trial.report(Report(epoch=max(1, trial.progress.epochs), metrics=metrics))
    trial.decision = Decision.CONTINUE  # there is nothing left to stop


def _number(item: object, value: object) -> float:
    if isinstance(item, SupportsFloat) and not isinstance(item, str):
        try:
            return float(item)
        except (TypeError, ValueError, RuntimeError) as error:
            raise _unusable(value) from error  # such as a tensor of several values
    raise _unusable(value)


def _unusable(value: object) -> MetricError:
    return MetricError(
        f"objective: the target reported nothing and returned {value!r:.80}; it must "
        "return a number, or one for each objective, or report with sweeper.report"
    )

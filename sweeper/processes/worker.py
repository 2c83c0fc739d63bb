"""One trial in one process: what happens between a spec and its outcome.

It knows nothing of Ray or of the sweep; reports go out through a channel.
"""

import logging
import os
import random
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf

from sweeper import callbacks
from sweeper.callbacks import ActiveTrial, one_batch, wandb
from sweeper.callbacks.checkpoint import Paused
from sweeper.definition import sources
from sweeper.errors import MetricError, SweeperError
from sweeper.host import disk, locks, metrics_file, redaction
from sweeper.host.paths import (
    TrialPaths,
    drop_torn_tail,
    remove_stale_temporaries,
    write_text,
)
from sweeper.processes import program, usage
from sweeper.project import targets
from sweeper.project.compose import compose_trial, to_resolved
from sweeper.reports import Measured, Report
from sweeper.scheduling import failures
from sweeper.trial import Decision, FailureKind, TrialSpec, derive

log = logging.getLogger(__name__)

LOCK_WAIT_SECONDS = 60.0
DISK_PAUSE_SECONDS = 2.0  # a file that did not fit may have left space for others


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attempt ended.

    Attributes:
        event: "finished", "paused", "failed" or "fatal" (every trial would meet it).
        kind: kind of the failure, "" for the first two.
        message: one line.
        traceback: see `Failure`.
    """

    event: str
    kind: str = ""
    message: str = ""
    traceback: str = ""


class Channel(Protocol):
    """Where a trial's process reports to."""

    def report(self, report: Report) -> Decision:
        """Journal one epoch; the decision."""


def run_trial(spec: TrialSpec, channel: Channel) -> Outcome:
    """Run the target of one trial in this process, to its end or to a pause.

    The folder's lock is held throughout: an attempt that a dead driver left behind
    ends before this one starts to write.
    """
    paths = TrialPaths(Path(spec.folder))
    with locks.hold(paths.lock, wait_seconds=LOCK_WAIT_SECONDS) as other:
        if other is not None:
            message = f"{paths.folder}: still in use by process {other.pid}"
            return Outcome(event="failed", kind=FailureKind.LOST, message=message)
        return _run_locked(spec, channel, paths)


def _run_locked(spec: TrialSpec, channel: Channel, paths: TrialPaths) -> Outcome:
    started = time.monotonic()
    meter = usage.Meter()

    def send(measured: Measured, values: tuple[float, ...]) -> Decision:
        report = Report(
            epoch=measured.epoch,
            values=values,
            metrics=measured.metrics,
            busy_seconds=time.monotonic() - started,
            usage=meter.read(measured.step),
        )
        return channel.report(report)

    def on_metrics(epoch: int, metrics: Mapping[str, float]) -> None:
        if metrics:
            metrics_file.append(paths.metrics, epoch, metrics)

    trial = ActiveTrial(spec=spec, send=send, on_metrics=on_metrics)
    prepare(spec, paths)
    callbacks.activate(trial)
    try:
        outcome = _attempt(trial)
    finally:
        callbacks.activate(None)
    if trial.run is not None:
        _close_run(trial, outcome)
    return outcome


def _attempt(trial: ActiveTrial) -> Outcome:
    """Call the target; how that ended."""
    try:
        _call_target(trial)
        _expect_value(trial)
    except Paused:
        return Outcome(event="finished" if trial.is_stopped else "paused")
    except SweeperError as error:
        write_text(trial.paths.error, traceback.format_exc())
        return Outcome(event="fatal", kind=FailureKind.ERROR, message=str(error))
    except SystemExit as end:
        if end.code:
            message = f"the target called sys.exit({end.code!r})"
            return Outcome(event="failed", kind=FailureKind.ERROR, message=message)
    except Exception as error:  # the one edge of a trial's process
        if _is_disk_full(error):
            return _wait_for_space(error, trial.paths)
        write_text(trial.paths.error, traceback.format_exc())
        traceback.print_exc()
        return _of_child(failed(error), trial)
    if trial.decision is Decision.PAUSE and not trial.has_trainer:
        return Outcome(event="paused")
    return Outcome(event="finished")


def _expect_value(trial: ActiveTrial) -> None:
    """Raise MetricError if a trial has logged metrics to its end but no objective."""
    spec = trial.spec
    rows = metrics_file.epochs(trial.paths.metrics).values()
    if trial.logged and not any(spec.metric in row for row in rows):
        raise MetricError(
            callbacks.unknown_metric(spec.metric, dict.fromkeys(trial.logged, 0.0))
        )


def _of_child(outcome: Outcome, trial: ActiveTrial) -> Outcome:
    """Say of a child that never began what its parent may have to do with it."""
    if trial.parent is None or any(trial.paths.resume.rglob("*.ckpt")):
        return outcome
    hint = (
        f"it starts from the weights of {trial.parent.folder.name}; what shapes them "
        "belongs in scheduler: fixed"
    )
    message = f"{outcome.message} ({hint})"
    return replace(outcome, message=message)


def _is_disk_full(error: Exception) -> bool:
    """Whether the disk ended the trial; torch does not say why it could not write."""
    return disk.is_full(error) or "PytorchStreamWriter failed" in str(error)


def _wait_for_space(error: Exception, paths: TrialPaths) -> Outcome:
    """Pause a trial that the disk ended: it is not the trial's failure."""
    log.warning("%s: waiting for space", error)
    time.sleep(DISK_PAUSE_SECONDS)
    disk.wait(paths.folder, log.warning)
    return Outcome(event="paused", message=f"{type(error).__name__}: {error}")


def _close_run(trial: ActiveTrial, outcome: Outcome) -> None:
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
    """The objectives after the first one, as an epoch measured them."""
    row = metrics_file.epochs(trial.paths.metrics).get(epoch, {})
    return {name: row[name] for name in trial.spec.more_metrics if name in row}


def prepare(spec: TrialSpec, paths: TrialPaths) -> None:
    """Bring this process into the state that every attempt of the trial starts in."""
    for folder in (paths.checkpoints, *paths.fits, paths.artifacts):
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(folder)
    remove_stale_temporaries(paths.folder)
    drop_torn_tail(paths.metrics)
    write_text(paths.spec, spec.to_json())
    os.environ.update(spec.env)
    os.environ["SWEEPER_TRIAL"] = spec.id
    if any(paths.resume.rglob("*.ckpt")) or spec.lineage is not None:
        # A project that saves modules in its hyperparameters could not resume.
        os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    sources.put_on_path(Path(spec.project))
    os.chdir(spec.folder if spec.chdir else spec.project)
    seed = derive(spec.seed, "trial")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if not torch.cuda.is_available():
        torch.set_num_threads(spec.threads)
    elif spec.memory_fraction < 1:
        torch.cuda.set_per_process_memory_fraction(spec.memory_fraction)


def _call_target(trial: ActiveTrial) -> None:
    spec = trial.spec
    is_program = sources.is_program(spec.target)
    target = None if is_program else targets.load(spec.target)
    config = compose_trial(
        Path(spec.config),
        spec.overrides,
        output_dir=Path(spec.folder),
        job_name=spec.sweep,
        project=Path(spec.project),
        target=spec.target if is_program else "",
    )
    resolved = save_config(config, trial.paths)
    if target is not None:
        if spec.max_batches:
            one_batch.use_cpu()
        _open_run(trial, resolved)
        _become_job()
        target(config)
        return
    try:
        program.run(trial)  # opens the run in its own process, if at all
    finally:
        _open_run(trial, resolved)


def _become_job() -> None:
    """Do what Hydra does before it calls a job: its logging, its working directory."""
    hydra: Any = HydraConfig.get()
    configure_log(hydra.job_logging, hydra.verbose)
    if hydra.job.chdir:
        os.chdir(hydra.runtime.output_dir)


def _open_run(trial: ActiveTrial, config: Mapping[str, object]) -> None:
    trial.run = wandb.start(trial.spec)
    if trial.run is not None:
        trial.run.describe(wandb.description(trial.spec, config))


def save_config(config: DictConfig, paths: TrialPaths) -> dict[str, object]:
    """Write the composed config, interpolations resolved, secrets hidden; return it."""
    hidden = dict.fromkeys(redaction.secrets(os.environ), redaction.HIDDEN)
    resolved = redaction.redacted(to_resolved(config), hidden)
    assert isinstance(resolved, dict)  # noqa: S101  # of a DictConfig
    write_text(paths.config, OmegaConf.to_yaml(OmegaConf.create(resolved)))
    return resolved


def failed(error: Exception) -> Outcome:
    """Classify what a target raised, by its type."""
    message = f"{type(error).__name__}: {error}".splitlines()[0]
    kind = FailureKind.OOM if _is_oom(error) else FailureKind.ERROR
    digest = failures.digest(error)
    return Outcome(event="failed", kind=kind, message=message, traceback=digest)


def _is_oom(error: BaseException | None) -> bool:
    """Whether memory ran out, whatever the project raised because of it."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return True
        error = error.__cause__
    return False

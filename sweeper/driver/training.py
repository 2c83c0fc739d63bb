"""`train`: one trial in this process, in a folder named by its settings."""

import os
import secrets
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from sweeper.experiment import defaults
from sweeper.journal import best_checkpoint
from sweeper.journal.spec import run_id
from sweeper.protocol import Answer, Decision, Message, TrialSpec
from sweeper.system import metrics_file, process, wandb
from sweeper.system.errors import SweeperError, TargetError
from sweeper.system.identity import trial_id
from sweeper.system.paths import TrialPaths, is_packaged, project_root
from sweeper.trial import worker
from sweeper.trial.compose import Composer

SWEEP = "train"


@dataclass(slots=True)
class TerminalChannel:
    """The answers to a trial's reports: continue, or pause after the first Ctrl-C."""

    is_pausing: bool = False
    is_stopped: bool = False

    def ask(self, message: Message) -> Answer:
        """Answer a report: PAUSE after Ctrl-C, else CONTINUE."""
        return Answer(decision=Decision.PAUSE if self.is_pausing else Decision.CONTINUE)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Pause at the end of the epoch; stop at once at the second signal."""
        if self.is_pausing:
            self.is_stopped = True
            raise KeyboardInterrupt
        self.is_pausing = True
        print("stopping at the end of this epoch; again to stop now", file=sys.stderr)


def make_spec(
    overrides: Sequence[str],
    *,
    after: Sequence[str] = (),
    config: Path,
    target: str,
    metric: str,
    mode: str,
    wandb_mode: str,
    sweeps: Path,
    seed: int | None = None,
    threads: int | None = None,
    chdir: bool = False,
) -> TrialSpec:
    """Return the spec of a training.

    Its folder depends on the project and the settings, but not on the order of the
    overrides.

    Args:
        after: overrides of steps after the fit; the folder does not depend on them.
        target: "" for sweeper's own target, which needs a config of sweeper's own.
        seed: seed of the trial; None for the config's seed, or 42 if it has none.
        threads: number of torch's threads, which may change the result; None for one
            per core.
        chdir: whether the trial's folder is the working directory.

    Raises:
        SweeperError: the config does not exist, or has no target.
    """
    params = dict(override.partition("=")[::2] for override in overrides)
    target = target or _own_target(config)
    project = project_root(config).absolute()
    # Relative paths, so that a project can resume after a move with its sweeps.
    places = {
        "config": os.path.relpath(config.absolute(), project),
        "project": os.path.relpath(project, sweeps.absolute()),
    }
    flags = {"--seed": seed, "--threads": threads, "--chdir": chdir or None}
    options = {name: value for name, value in flags.items() if value is not None}
    identity = trial_id({**params, **places, **options, "target": target}, seed=0)
    folder = TrialPaths((sweeps / SWEEP / identity).absolute())
    return TrialSpec(
        id=identity,
        number=0,
        sweep=SWEEP,
        target=target,
        config=str(config.absolute()),
        overrides=(*overrides, *after),
        params=params,
        seed=_seed(config, overrides, project=project, target=target)
        if seed is None
        else seed,
        folder=str(folder.folder),
        project=str(project),
        metric=metric,
        mode=mode,
        threads=threads or os.cpu_count() or 1,
        chdir=chdir,
        wandb={
            "id": _run_id(folder, identity),
            "mode": wandb.mode(wandb_mode),
            "project": "",
            "entity": "",
            "group": SWEEP,
            "name": " ".join(overrides) or identity,
            "notes": "",
            "tags": (),
        },
    )


def _own_target(config: Path) -> str:
    if not is_packaged(config):
        raise TargetError(
            f"target: missing; {config} is no config of sweeper's own, so the function "
            "to call with it must be named: --target my_project.train:main"
        )
    return defaults.TARGET


def _seed(config: Path, overrides: Sequence[str], *, project: Path, target: str) -> int:
    """Return the seed of the composed config, or 42 if it has none."""
    composer = Composer(config.absolute(), project, target=target)
    seed = composer.seed(overrides)
    return defaults.SEED if seed is None else seed


def _run_id(paths: TrialPaths, identity: str) -> str:
    """Return the id of the folder's W&B run; it is unique to the folder."""
    if paths.spec.exists():
        spec = TrialSpec.from_json(paths.spec.read_text(encoding="utf-8"))
        return str(spec.wandb["id"])
    return run_id(identity, secrets.token_hex(4))


def train(spec: TrialSpec) -> int:
    """Train or resume; return 0 at the end, 130 after a pause, 3 after a failure.

    The state of the process is restored, so that a notebook can train again.

    Raises:
        SweeperError: the config, the target or the objective is wrong.
    """
    paths = TrialPaths(Path(spec.folder))
    print(f"{'resume' if paths.last.exists() else 'train'} {spec.id} in {paths.folder}")
    with process.restored():
        channel = TerminalChannel()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, channel.on_signal)
        threads = torch.get_num_threads()
        outcome = worker.run_trial(spec, channel.ask)
        torch.set_num_threads(threads)
    if channel.is_stopped and outcome.event == "failed":
        raise KeyboardInterrupt
    best = metrics_file.best(paths.metrics, metric=spec.metric, mode=spec.mode)
    if best is not None:
        print(f"best {spec.metric} {best[1]:.4f} at epoch {best[0]}")
    rows = metrics_file.epochs(paths.metrics)
    checkpoint = best_checkpoint.choose(
        paths,
        best=None if best is None else best[0],
        values={e: row[spec.metric] for e, row in rows.items() if spec.metric in row},
    )
    if checkpoint is not None:
        print(f"checkpoint {checkpoint.path}")
        print(f"  {checkpoint.text(spec.metric)}")
    match outcome.event:
        case "finished":
            return 0
        case "paused":
            print("paused; the same command resumes it")
            return 130
        case "fatal":
            raise SweeperError(outcome.message)
    print(f"failed: {outcome.message}\ntraceback: {paths.error}", file=sys.stderr)
    return 3

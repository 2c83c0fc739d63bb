"""A trial as a job of Hydra: its config is composed and its target is called."""

import contextlib
import copy
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from sweeper.compat.hydra import Callbacks
from sweeper.system import redaction
from sweeper.system.paths import TrialPaths, write_text
from sweeper.trial import base_config
from sweeper.trial.compose import without_hydra


@dataclass(frozen=True, slots=True)
class Job:
    """A composed trial.

    Attributes:
        composed: its config with Hydra's own node.
        loader: Hydra's loader, which composed it.
    """

    composed: DictConfig
    loader: ConfigLoader

    @property
    def config(self) -> DictConfig:
        """A copy of the config, as the target gets it."""
        return without_hydra(copy.deepcopy(self.composed))

    def call(self, target: Callable[[DictConfig], object]) -> object:
        """Return what the target returns, called as `@hydra.main` would call it.

        Hydra's callbacks are called, its job logging is set up, its files of the
        config are written without secrets, `hydra.job.chdir` is obeyed.
        """
        callbacks = Callbacks(self.composed)
        about = {"config_name": self.composed.hydra.job.config_name}
        callbacks.on_run_start(config=self.composed, **about)
        ended = run_job(
            task_function=lambda config: _call(target, config),
            config=self.composed,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
            hydra_context=HydraContext(config_loader=self.loader, callbacks=callbacks),
        )
        callbacks.on_run_end(config=self.composed, job_return=ended, **about)
        with contextlib.redirect_stderr(io.StringIO()):  # it may be closed by now
            return ended.return_value  # raises what the target raised


def compose(
    config: Path,
    overrides: Sequence[str],
    *,
    output_dir: Path,
    number: int = 0,
    project: Path | None = None,
    target: str = "",
) -> Job:
    """Compose the config of a trial, as `@hydra.main` would.

    The process belongs to the trial from here on: `HydraConfig` is set,
    `hydra.job.env_set` is in the environment, `${hydra:runtime.output_dir}` is
    `output_dir`, and `${now:...}` is the time of the trial's first start, so that names
    are the same after a restart.

    Args:
        number: of the trial in its sweep, for `${hydra:job.num}`.

    Raises:
        ConfigError: with Hydra's own message, in one line.
    """
    request = base_config.Request(
        config=config,
        project=project or Path.cwd(),
        target=target,
        overrides=tuple(overrides),
    )
    composer, composed = base_config.take(request)
    with read_write(composed.hydra), open_dict(composed.hydra):
        composed.hydra.mode = RunMode.RUN
        composed.hydra.run.dir = str(output_dir)
        composed.hydra.sweep.dir = str(TrialPaths(output_dir).multirun)
        composed.hydra.runtime.output_dir = str(output_dir)
        composed.hydra.job.num = number
        composed.hydra.job.id = output_dir.name
    _keep_now(TrialPaths(output_dir).started)
    HydraConfig.instance().set_config(composed)
    os.environ.update({k: str(v) for k, v in composed.hydra.job.env_set.items()})
    return Job(composed, composer.loader)


def _keep_now(file: Path) -> None:
    """Let `${now:...}` be the time in a file, which the first start writes."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, datetime.now().isoformat())
    moment = datetime.fromisoformat(file.read_text(encoding="utf-8"))
    OmegaConf.register_new_resolver("now", lambda p: moment.strftime(p), replace=True)


def _call(target: Callable[[DictConfig], object], config: DictConfig) -> object:
    hydra: Any = HydraConfig.get()
    if hydra.output_subdir is not None:
        _hide_secrets(Path(hydra.runtime.output_dir, hydra.output_subdir))
    return target(config)


def _hide_secrets(folder: Path) -> None:
    """Hide the environment's secrets in the files that Hydra has just written."""
    hidden = dict.fromkeys(redaction.secrets(os.environ), redaction.HIDDEN)
    for path in folder.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        redacted = str(redaction.redacted(text, hidden))
        if redacted != text:
            write_text(path, redacted)

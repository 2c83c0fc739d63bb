"""Callbacks of Hydra that write down when they are called."""

from pathlib import Path

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Notes(Callback):
    """Notes each call in the job's folder."""

    def _note(self, config: DictConfig, text: str) -> None:
        folder = Path(config.hydra.run.dir)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "calls.txt").open("a") as file:
            file.write(f"{text}\n")

    def on_run_start(self, config: DictConfig, **kwargs: object) -> None:
        """Note the config's name."""
        self._note(config, f"run start {kwargs['config_name']} lr={config.lr}")

    def on_job_start(self, config: DictConfig, **kwargs: object) -> None:
        """Note that there is a function."""
        self._note(config, f"job start {callable(kwargs['task_function'])}")

    def on_job_end(self, config: DictConfig, job_return: object) -> None:
        """Note how it ended."""
        status = job_return.status.name  # type: ignore[attr-defined]
        self._note(config, f"job end {status} {job_return._return_value!r}")  # type: ignore[attr-defined]

    def on_run_end(self, config: DictConfig, **kwargs: object) -> None:
        """Note the end."""
        self._note(config, f"run end {len(kwargs['job_return'].cfg)}")  # type: ignore[attr-defined]


class Broken(Callback):
    """Raises, which Hydra turns into a warning."""

    def on_job_start(self, config: DictConfig, **kwargs: object) -> None:
        """Raise."""
        raise ValueError("a broken callback")

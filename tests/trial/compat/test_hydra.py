"""Private interfaces of Hydra are as `sweeper.trial.compat.hydra` expects them."""

from typing import ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from sweeper.trial.compat import hydra as compat


class Recorder(Callback):
    """Records its calls."""

    calls: ClassVar[list[str]] = []

    def on_run_start(self, config: DictConfig, **_: object) -> None:
        """Record the start of a run."""
        self.calls.append(f"start {config.lr}")

    def on_run_end(self, config: DictConfig, **_: object) -> None:
        """Record the end of a run."""
        self.calls.append(f"end {config.lr}")


def test_the_callbacks_of_a_config_are_called() -> None:
    node = {"_target_": f"{__name__}.Recorder"}
    config = OmegaConf.create({"lr": 1, "hydra": {"callbacks": {"recorder": node}}})
    Recorder.calls.clear()
    callbacks = compat.callbacks(config)
    callbacks.on_run_start(config=config, config_name="main")
    callbacks.on_run_end(config=config, config_name="main", job_return=None)
    assert Recorder.calls == ["start 1", "end 1"]

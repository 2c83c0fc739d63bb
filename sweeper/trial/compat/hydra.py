"""Private interfaces of Hydra."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydra._internal.callbacks import Callbacks
    from omegaconf import DictConfig


def callbacks(config: "DictConfig") -> "Callbacks":
    """Return the callbacks of a config (`hydra.callbacks`), as `run_job` calls them.

    The public `hydra.core.utils.run_job` looks for an object that only Hydra's own main
    creates.
    """
    from hydra._internal.callbacks import Callbacks

    return Callbacks(config)

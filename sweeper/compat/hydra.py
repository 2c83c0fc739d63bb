"""Private interfaces of Hydra.

`Callbacks` calls the callbacks of a config (`hydra.callbacks`). `hydra.core.utils`
asks for one in its public `run_job`, but Hydra makes it only in its own main.
"""

from hydra._internal.callbacks import Callbacks

__all__ = ["Callbacks"]

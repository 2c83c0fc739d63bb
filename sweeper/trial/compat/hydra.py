"""Private interfaces of Hydra.

`Callbacks` calls the callbacks of a config (`hydra.callbacks`). The public
`hydra.core.utils.run_job` looks for one that only Hydra's own main creates.
"""

from hydra._internal.callbacks import Callbacks

__all__ = ["Callbacks"]

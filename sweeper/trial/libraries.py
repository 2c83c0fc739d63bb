"""The project's libraries, each imported at the first use of one of its names.

The trial half can be imported where none of them is installed.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as numpy
    import torch as torch
    import torchmetrics as torchmetrics
    import yaml as yaml
else:

    class _Library:
        """A module under its name, before and after its import."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> object:
            return getattr(importlib.import_module(self._name), attribute)

    numpy = _Library("numpy")
    torch = _Library("torch")
    torchmetrics = _Library("torchmetrics")
    yaml = _Library("yaml")

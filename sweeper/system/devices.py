"""Memory and use of this machine's NVIDIA cards, read without a CUDA context.

The values are unknown without a card, its driver or the package pynvml.
"""

import contextlib
import functools
from typing import Any


@functools.cache
def _nvml() -> Any:
    """Return the initialised module `pynvml`; None without a driver or the package."""
    with contextlib.suppress(ImportError):
        import pynvml

        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            return pynvml
    return None


def memory(index: int = 0) -> int:
    """Return the memory of a card in bytes, as torch reports it; 0 if unknown."""
    nvml = _nvml()
    if nvml is None:
        return 0
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        info = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
    except nvml.NVMLError:
        return 0
    return int(info.total) - int(info.reserved)


def utilisation(uuid: str) -> float | None:
    """Return the share of the last second in which a card computed, 0 to 1.

    All processes on the card count. Return None if it is unknown, such as for a part
    of a card (MIG).
    """
    nvml = _nvml()
    if nvml is None:
        return None
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        return float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
    except nvml.NVMLError:
        return None

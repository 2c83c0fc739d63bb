"""What the driver of this machine's NVIDIA cards says, without a CUDA context.

Without a card or a driver it knows nothing.
"""

import functools

import pynvml


@functools.cache
def _is_there() -> bool:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False
    return True


def memory(index: int = 0) -> int:
    """Bytes of a card, as torch reports them; 0 where there is none."""
    if not _is_there():
        return 0
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        found = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError:
        return 0
    return int(found.total) - int(found.reserved)


def utilisation(uuid: str) -> float | None:
    """Share of the last second that a card computed, 0 to 1; None for not known.

    All processes of the card count. A part of a card (MIG) does not say.
    """
    if not _is_there():
        return None
    try:
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        return float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
    except pynvml.NVMLError:
        return None

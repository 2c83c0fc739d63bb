"""Use of a trial's device: memory, steps a second, utilisation.

It measures this process and the first card that it sees.
"""

import resource
import time

from sweeper.system import devices


class Meter:
    """Measures from report to report.

    The rate is the steps divided by the time from one report to the next, so it
    includes the time between two epochs.
    """

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None

    def read(self, step: int | None) -> dict[str, float]:
        """Return the usage since the last call; {} without a GPU.

        Args:
            step: the trainer's global step, None without one.
        """
        import torch

        if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            return {}
        usage = {"peak_bytes": float(torch.cuda.max_memory_allocated())}
        uuid = str(torch.cuda.get_device_properties(0).uuid)
        utilisation = devices.utilisation(f"GPU-{uuid}")
        if utilisation is not None:
            usage["utilisation"] = utilisation
        rate = self.rate(step, now=time.monotonic())
        return {**usage, "rate": rate} if rate else usage

    def rate(self, step: int | None, *, now: float) -> float:
        """Return the steps a second since the last call; 0 at the first one."""
        if step is None:
            return 0.0
        last, self._last = self._last, (now, step)
        if last is None or now <= last[0] or step <= last[1]:
            return 0.0
        return (step - last[1]) / (now - last[0])


def peak_memory_mib() -> float:
    """Return the peak memory of the GPU's allocator, without a GPU of the process."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

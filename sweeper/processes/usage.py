"""What a trial's process takes of its device: memory, steps a second, utilisation.

It measures this process and the card that it sees first; it decides nothing.
"""

import resource
import time

import torch

from sweeper.cards import devices


class Meter:
    """Measures from report to report.

    The rate leaves out what lies between two epochs only if that is short: it is steps
    by the time from one report to the next.
    """

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None

    def read(self, step: int | None) -> dict[str, float]:
        """What was measured since the last call; {} without a GPU.

        Args:
            step: the trainer's global step, None where there is none.
        """
        if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            return {}
        found = {"peak_bytes": float(torch.cuda.max_memory_allocated())}
        uuid = str(torch.cuda.get_device_properties(0).uuid)
        utilisation = devices.utilisation(f"GPU-{uuid}")
        if utilisation is not None:
            found["utilisation"] = utilisation
        rate = self.rate(step, now=time.monotonic())
        return {**found, "rate": rate} if rate else found

    def rate(self, step: int | None, *, now: float) -> float:
        """Steps a second since the last call; 0 at the first one."""
        if step is None:
            return 0.0
        last, self._last = self._last, (now, step)
        if last is None or now <= last[0] or step <= last[1]:
            return 0.0
        return (step - last[1]) / (now - last[0])


def peak_memory_mib() -> float:
    """Most memory of this process: of the GPU's allocator, without a GPU resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

"""Clocks and rows that the measurements of long sweeps share."""

import resource
import time

REPORTS = 10


def now() -> tuple[float, float]:
    """Wall and CPU seconds so far."""
    return time.perf_counter(), time.process_time()


def since(begin: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = now()
    return wall - begin[0], cpu - begin[1]


def row(
    spent: tuple[float, float], count: int, resumed: tuple[float, float], size: int
) -> dict[str, float]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "wall_ms": spent[0] / count / REPORTS * 1e3,
        "cpu_ms": spent[1] / count / REPORTS * 1e3,
        "resume_seconds": resumed[0],
        "bytes_a_trial": size / count,
        "peak_bytes": float(peak),
    }

"""One whole process measured: wall, CPU and memory of it and of all that it starts."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
INTERVAL_SECONDS = 0.2
TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run took.

    Attributes:
        cpu_seconds: of every process that it started, as last seen alive.
        peak_bytes: largest sum of proportional set sizes.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


def run(
    commands: Sequence[Sequence[str]], *, cwd: Path, env: Mapping[str, str]
) -> Figures:
    """Run commands at the same time to their ends.

    Raises:
        RuntimeError: one of them failed; the end of its output is the message.
    """
    mark = f"BENCH_MARK={os.getpid()}.{time.monotonic_ns()}"
    name, _, value = mark.partition("=")
    output = cwd / "output.txt"
    begin = time.monotonic()
    with output.open("wb") as file:
        started = [
            subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **env, name: value},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            for command in commands
        ]
        cpu: dict[int, float] = {}
        peak = 0
        while any(process.poll() is None for process in started):
            peak = max(peak, _sample(mark.encode(), cpu))
            if time.monotonic() - begin > TIMEOUT_SECONDS:
                for process in started:
                    process.kill()
            time.sleep(INTERVAL_SECONDS)
    wall = time.monotonic() - begin
    if any(process.returncode for process in started):
        raise RuntimeError(output.read_text(errors="replace")[-2000:])
    return Figures(wall_seconds=wall, cpu_seconds=sum(cpu.values()), peak_bytes=peak)


def _sample(mark: bytes, cpu: dict[int, float]) -> int:
    """Note the CPU time of each marked process; the sum of their memory."""
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if mark not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            cpu[int(entry.name)] = (int(fields[11]) + int(fields[12])) / TICK
            for line in (entry / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue  # it has ended
    return total

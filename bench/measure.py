"""One whole process measured: wall, CPU and memory of it and of all that it starts."""

import ctypes
import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.system import orphans

TICK = os.sysconf("SC_CLK_TCK")
INTERVAL_SECONDS = 0.5  # of a sample of memory, which takes CPU itself
TIMEOUT_SECONDS = 300.0
GRACE_SECONDS = 10.0  # for what the commands leave behind
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run took.

    Attributes:
        cpu_seconds: of every process below it, however short its life; the last half
            second of one that its parent does not wait for may be missing.
        peak_bytes: largest sum of proportional set sizes.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """The CPU time of a process as last seen: its own, and of children waited for."""

    parent: int
    own_seconds: float
    reaped_seconds: float


def total_seconds(found: Mapping[int, Used]) -> float:
    """CPU time of processes that were seen and of children that only a parent saw.

    Ray's raylet does not wait for its workers, so no parent's sum has theirs.
    """
    seen: dict[int, float] = {}  # of the children of each that were seen themselves
    for used in found.values():
        whole = used.own_seconds + used.reaped_seconds
        seen[used.parent] = seen.get(used.parent, 0.0) + whole
    unseen = sum(
        max(0.0, used.reaped_seconds - seen.get(pid, 0.0))
        for pid, used in found.items()
    )
    return sum(used.own_seconds for used in found.values()) + unseen


def run(
    commands: Sequence[Sequence[str]], *, cwd: Path, env: Mapping[str, str]
) -> Figures:
    """Run commands at the same time to their ends.

    Processes that outlive their parents become ours, so that nothing is left out.

    Raises:
        RuntimeError: one of them failed; the end of its output is the message.
    """
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        return _measure(commands, cwd=cwd, env=env)
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


def _measure(
    commands: Sequence[Sequence[str]], *, cwd: Path, env: Mapping[str, str]
) -> Figures:
    mark = f"{os.getpid()}.{time.monotonic_ns()}"
    output = cwd / "output.txt"
    before, others = _children_seconds(), set(orphans.children(os.getpid()))
    begin = time.monotonic()
    with output.open("wb") as file:
        started = [
            subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **env, "BENCH_MARK": mark},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            for command in commands
        ]
        found: dict[int, Used] = {}
        peak, next_sample = 0, 0.0
        while any(process.poll() is None for process in started):
            if time.monotonic() > next_sample:
                peak = max(peak, _sample(f"BENCH_MARK={mark}".encode(), found))
                next_sample = time.monotonic() + INTERVAL_SECONDS
            if time.monotonic() - begin > TIMEOUT_SECONDS:
                for process in started:
                    process.kill()
            time.sleep(0.02)
    wall = time.monotonic() - begin
    _reap(others)
    if any(process.returncode for process in started):
        raise RuntimeError(output.read_text(errors="replace")[-2000:])
    cpu = max(_children_seconds() - before, total_seconds(found))
    return Figures(wall_seconds=wall, cpu_seconds=cpu, peak_bytes=peak)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _reap(others: set[int]) -> None:
    """Wait for what the commands left behind; kill what does not end.

    Args:
        others: children from before, which go on.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    while left := set(orphans.children(os.getpid())) - others:
        for pid in left:
            if time.monotonic() > deadline:
                os.kill(pid, 9)
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)


def _parent(pid: int) -> int:
    try:
        return _used(pid).parent
    except OSError:
        return 0


def _used(pid: int) -> Used:
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text.rpartition(")")[2].split()
    user, system, reaped_user, reaped_system = (int(n) / TICK for n in fields[11:15])
    return Used(
        parent=int(fields[1]),
        own_seconds=user + system,
        reaped_seconds=reaped_user + reaped_system,
    )


def _sample(mark: bytes, found: dict[int, Used]) -> int:
    """The memory of marked processes and of all below them, whom `found` grows by."""
    total = 0
    for pid in sorted(int(e.name) for e in Path("/proc").iterdir() if e.name.isdigit()):
        entry = Path(f"/proc/{pid}")
        try:
            # setproctitle overwrites the environment of Ray's agents.
            if not (
                pid in found
                or _parent(pid) in found
                or mark in (entry / "environ").read_bytes().split(b"\0")
            ):
                continue
            found[pid] = _used(pid)
            for line in (entry / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue  # it has ended
    return total

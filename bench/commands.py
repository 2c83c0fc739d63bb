"""How long the commands take that people type while a sweep runs."""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench import overhead, reasons
from bench.page import Goal, Section, table

WHOLE = {"--help": 0.5, "status": 0.5, "best": 0.5}
FIRST = {"plan": 2.0, "run": 2.0}


def _environment() -> Mapping[str, str]:
    paths = [str(overhead.PROJECT), str(overhead.HERE.parent)]
    paths.append(os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def whole(words: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    command = [sys.executable, "-m", "sweeper", *words]
    done = subprocess.run(command, env=_environment(), capture_output=True, check=True)
    wall = time.perf_counter() - begin
    assert done.stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def first_line(words: list[str]) -> float:
    """Seconds until a command says something; it then goes on to its end."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "sweeper", *words],
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    taken = time.perf_counter() - begin
    process.communicate()
    return taken


def section(rounds: int) -> Section:
    """Each command `rounds` times in turn, on a sweep of 16 trials."""
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        out = Path(name)
        run = [*overhead._sweeper(out)[0][3:]]
        where = ["--sweeps", str(out)]
        whole(run)
        plan = ["plan", str(out / "bench.yaml"), *where]
        for _ in range(max(rounds, 3)):
            found.setdefault("--help", []).append(whole(["--help"]))
            for command in ("status", "best"):
                figures = whole([command, "bench", *where])
                found.setdefault(command, []).append(figures)
            # The sweep is finished: `run` says so, and what it would run, and ends.
            found.setdefault("plan", []).append((first_line(plan), 0.0))
            found.setdefault("run", []).append((first_line(run), 0.0))
    rows, goals = [], []
    for command, figures in found.items():
        wall = statistics.median(wall for wall, _ in figures)
        cpu = statistics.median(cpu for _, cpu in figures)
        is_whole = command in WHOLE
        what = f"`sweeper {command}`" + ("" if is_whole else ", to its first line")
        rows.append([what, f"{wall:.2f}", f"{cpu:.2f}" if is_whole else ""])
        limit = {**WHOLE, **FIRST}[command]
        reason = reasons.COMMAND if is_whole else reasons.FIRST_LINE
        goals.append(Goal(text=what, value=wall, limit=limit, unit="s", reason=reason))
    return Section(
        title="Commands", lines=table(["", "wall s", "CPU s"], rows), goals=goals
    )


if __name__ == "__main__":
    print(json.dumps(section(1).lines, indent=1))

"""Long sweeps as whole processes: `sweeper run` and Ray Tune, trials without torch."""

import json
import math
import resource
import subprocess
import sys
from pathlib import Path

from bench import overhead
from bench.clocks import REPORTS, now, row, since


def ray_tune(folder: Path, count: int) -> dict[str, float]:
    """Ray Tune, its actors reused."""
    script = overhead.HERE / "peers" / "ray_results.py"
    command = [sys.executable, str(script), str(folder), str(count), str(REPORTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    spent = (found["spent"], math.nan)
    measured = row(spent, count, (found["resume_seconds"], math.nan), found["size"])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # its driver's, the largest
    return {**measured, "peak_bytes": used.ru_maxrss * 1024.0}


EXPERIMENT = """
name: bench
target: light:train
config: light.yaml
project: {project}
search_space: {{x: {points}}}
objective: {{metric: acc, mode: max}}
resources: {{gpus: 0}}
wandb: none
"""
TARGET = """
import sweeper
def train(cfg):
    for epoch in range(1, {reports} + 1):
        sweeper.report(epoch, {{"acc": 0.5 + epoch / 100, "loss": 0.5}})
"""


def sweeper_run(folder: Path, count: int) -> dict[str, float]:
    """`sweeper run` as a whole, less what a sweep of two trials takes."""
    walls = {}
    for trials in (2, 2 + count):
        project = folder / f"{trials}"
        project.mkdir()
        (project / "light.py").write_text(TARGET.format(reports=REPORTS))
        (project / "light.yaml").write_text("x: 0\n")
        text = EXPERIMENT.format(project=project, points=list(range(trials)))
        (project / "bench.yaml").write_text(text)
        run = [sys.executable, "-m", "sweeper", "run", str(project / "bench.yaml")]
        where = ["--sweeps", str(project / "sweeps"), "--num-cpus", "2", "--quiet"]
        begin = now()
        subprocess.run([*run, *where], check=True, capture_output=True, cwd=project)
        walls[trials] = since(begin)[0]
    begin = now()
    subprocess.run([*run, *where], check=True, capture_output=True, cwd=project)
    resumed = since(begin)
    rows = (project / "sweeps" / "bench" / "leaderboard.csv").read_text()
    assert len(rows.splitlines()) == 1 + 2 + count, rows[:200]
    size = (project / "sweeps" / "bench" / "journal.jsonl").stat().st_size
    spent = (walls[2 + count] - walls[2], math.nan)
    measured = row(spent, count, resumed, size)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {**measured, "peak_bytes": used.ru_maxrss * 1024.0}

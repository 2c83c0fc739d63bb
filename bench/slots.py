"""What lies between a trial and the journal: a slot's idle time, a report's way."""

import itertools
import json
import sys
from pathlib import Path

from bench import measure
from bench.overhead import PROJECT

PACKAGE = "sweeper"
TRIALS = 25
EXPERIMENT = """
name: short
target: short:train
config: conf/train.yaml
project: {project}
search_space: {{learning_rate: "interval(0.001, 0.1)"}}
search: random
budget: {{trials: {trials}}}
objective: {{metric: acc, mode: max}}
resources: {{gpus: 0}}
wandb: none
preflight: false
"""


def idle_seconds(folder: Path) -> list[float]:
    """Run short trials in one slot; return the times from one's end to the next."""
    file = _experiment(folder)
    run = [sys.executable, "-m", "sweeper", "run", str(file)]
    words = [*run, "--sweeps", str(folder), "--num-cpus", "1", "--quiet"]
    measure.run([words], cwd=folder, env={"OMP_NUM_THREADS": "1"})
    files = sorted(folder.rglob("times.json"))
    if len(files) != TRIALS:
        raise RuntimeError(f"{len(files)} trials of {TRIALS} ran")
    times = sorted(
        (json.loads(f.read_text()) for f in files), key=lambda t: t["called"]
    )
    pairs = itertools.pairwise(times)
    return [after["called"] - before["ended"] for before, after in pairs]


def _called(times: dict[str, float]) -> float:
    return times["called"]


def _experiment(folder: Path) -> Path:
    file = folder / "short.yaml"
    file.write_text(EXPERIMENT.format(project=PROJECT, trials=TRIALS))
    return file

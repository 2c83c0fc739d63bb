"""Sixteen short trials, two at once, from cold: sweeper, its peers and the floor."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import measure
from bench.measure import Figures

HERE = Path(__file__).resolve().parent
PROJECT = HERE / "project"
PACKAGES = HERE / ".peers"  # of constraints.txt: sweeper itself never sees them
TRIALS, EPOCHS = 16, 2

EXPERIMENT = """
name: bench
target: work:train
config: conf/train.yaml
project: {project}
search_space:
  width: [16, 32, 48, 64]
  learning_rate: [0.001, 0.002, 0.005, 0.01]
objective: {{metric: acc, mode: max}}
resources: {{gpus: 0}}
wandb: none
"""

Commands = Callable[[Path], Sequence[Sequence[str]]]


def _peer(name: str, *arguments: str) -> Commands:
    script = str(HERE / "peers" / f"{name}.py")
    return lambda out: [[sys.executable, script, str(out), *arguments]]


def _hydra(*overrides: str) -> Commands:
    def commands(out: Path) -> Sequence[Sequence[str]]:
        app = [sys.executable, str(PROJECT / "work.py"), "-m", f"hydra.sweep.dir={out}"]
        grid = ["width=16,32,48,64", "learning_rate=0.001,0.002,0.005,0.01"]
        return [[*app, *grid, *overrides]]

    return commands


def _sweeper(out: Path) -> Sequence[Sequence[str]]:
    file = out / "bench.yaml"
    file.write_text(EXPERIMENT.format(project=PROJECT))
    run = [sys.executable, "-m", "sweeper", "run", str(file)]
    return [[*run, "--sweeps", str(out), "--num-cpus", "2", "--quiet"]]


def _optuna_twice(out: Path) -> Sequence[Sequence[str]]:
    return [*_peer("optuna_study", "8")(out), *_peer("optuna_study", "8")(out)]


PEERS: dict[str, tuple[str, Commands]] = {
    "sweeper": ("", _sweeper),
    "floor: a pool of two warm processes": ("", _peer("floor")),
    "Hydra multirun": ("", _hydra()),
    "Hydra joblib launcher": (
        "hydra_plugins/hydra_joblib_launcher",
        _hydra("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    ),
    "Optuna, one process": ("", _peer("optuna_study", "16")),
    "Optuna, two processes": ("", _optuna_twice),
    "Ray Tune, reuse_actors": ("", _peer("ray_tune", "reuse")),
    "Ray Tune, as documented": ("", _peer("ray_tune", "plain")),
    "Syne Tune, local backend": ("syne_tune", _peer("syne_tune_local")),
}


def available() -> list[str]:
    """Peers whose package is installed."""
    return [name for name, (package, _) in PEERS.items() if _is_installed(package)]


def _is_installed(package: str) -> bool:
    return not package or (PACKAGES / package).exists()


def run(name: str) -> Figures:
    """Run one peer from cold and check that it did all of the work."""
    _, commands = PEERS[name]
    paths = [
        str(PROJECT),
        str(PACKAGES),
        str(HERE.parent),
        os.environ.get("PYTHONPATH", ""),
    ]
    env = {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "OMP_NUM_THREADS": "1",
        "RAY_NUM_CPUS": "2",
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        out = Path(folder)
        figures = measure.run(commands(out), cwd=out, env=env)
        check(out)
    return figures


def check(out: Path) -> None:
    """Refuse a run that left out trials, epochs, reports or checkpoints.

    Raises:
        RuntimeError: what is missing.
    """
    files = sorted(out.rglob("reports.jsonl"))
    if len(files) != TRIALS:
        raise RuntimeError(f"{len(files)} trials of {TRIALS} reported")
    for file in files:
        epochs = [json.loads(line)["epoch"] for line in file.read_text().splitlines()]
        if epochs != list(range(1, EPOCHS + 1)):
            raise RuntimeError(f"{file}: reported epochs {epochs}")
        saved = list((file.parent / "kept").glob("*.ckpt"))
        if len(saved) != EPOCHS:
            raise RuntimeError(f"{file.parent}: {len(saved)} checkpoints of {EPOCHS}")

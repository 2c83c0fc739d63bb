"""Sixteen short trials, two at once, from cold: sweeper, its peers and the floor."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import measure, reasons
from bench.measure import Figures
from bench.page import MIB, Goal, Section, table

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


FLOOR = "floor: a pool of two warm processes"
RAY = "Ray Tune, reuse_actors"
ONCE = {"Ray Tune, as documented", "Syne Tune, local backend"}  # over a minute each
PEERS: dict[str, tuple[str, Commands]] = {
    "sweeper": ("", _sweeper),
    FLOOR: ("", _peer("floor")),
    "Hydra multirun": ("", _hydra()),
    "Hydra joblib launcher": (
        "hydra_plugins/hydra_joblib_launcher",
        _hydra("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    ),
    "Optuna, one process": ("", _peer("optuna_study", "16")),
    "Optuna, two processes": ("", _optuna_twice),
    RAY: ("", _peer("ray_tune", "reuse")),
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


def run_rounds(count: int, words: Sequence[str] = ()) -> list[dict[str, Figures]]:
    """Every peer once a round, so that all of them meet a slow minute.

    Args:
        words: only sweeper and the peers whose name has one of these, if any.
    """
    names = [
        name
        for name in available()
        if name == "sweeper" or not words or any(word in name for word in words)
    ]
    rounds: list[dict[str, Figures]] = []
    for number in range(1, count + 1):
        found: dict[str, Figures] = {}
        for name in names:
            if number > 1 and name in ONCE:
                continue
            try:
                found[name] = run(name)
            except (RuntimeError, subprocess.SubprocessError) as error:
                print(f"{name}: left out: {error}", file=sys.stderr, flush=True)
                continue
            print(f"round {number}: {name}: {found[name]}", flush=True)
        rounds.append(found)
    return rounds


def ratio(
    rounds: Sequence[Mapping[str, Figures]],
    one: str,
    other: str,
    number: Callable[[Figures], float],
) -> float:
    """The median over the rounds of one's number beside the other's."""
    both = [each for each in rounds if one in each and other in each]
    return statistics.median(number(e[one]) / number(e[other]) for e in both)


def rows(rounds: Sequence[Mapping[str, Figures]]) -> list[list[str]]:
    """Peers beside sweeper: medians, and medians of the ratios of each round."""
    found = []
    for name in dict.fromkeys(name for each in rounds for name in each):
        mine = [each[name] for each in rounds if name in each]
        if not any("sweeper" in each and name in each for each in rounds):
            continue
        walls = ratio(rounds, name, "sweeper", lambda f: f.wall_seconds)
        cpus = ratio(rounds, name, "sweeper", lambda f: f.cpu_seconds)
        peaks = ratio(rounds, name, "sweeper", lambda f: f.peak_bytes)
        found.append(
            [
                name,
                f"{statistics.median(f.wall_seconds for f in mine):.1f}",
                f"{statistics.median(f.cpu_seconds for f in mine):.1f}",
                f"{statistics.median(f.peak_bytes for f in mine) / MIB:.0f}",
                *(f"{walls:.2f}", f"{cpus:.2f}", f"{peaks:.2f}", f"{len(mine)}"),
            ]
        )
    return found


def goals(rounds: Sequence[Mapping[str, Figures]]) -> list[Goal]:
    """What trial overhead is to keep within."""
    found = []
    if any("sweeper" in each and FLOOR in each for each in rounds):
        wall = ratio(rounds, "sweeper", FLOOR, lambda f: f.wall_seconds)
        text = f"wall of {TRIALS} short trials beside the floor's"
        found.append(Goal(text=text, value=wall, limit=1.25, reason=reasons.WALL))
    if any("sweeper" in each and RAY in each for each in rounds):
        peak = ratio(rounds, "sweeper", RAY, lambda f: f.peak_bytes)
        text = "peak memory beside Ray Tune's"
        found.append(Goal(text=text, value=peak, limit=0.5, reason=reasons.MEMORY))
    return found


def section(count: int, words: Sequence[str] = ()) -> Section:
    """The work of every peer, `count` times in turn."""
    rounds = run_rounds(count, words)
    head = ["", "wall s", "CPU s", "peak MiB"]
    head += ["wall / sweeper", "CPU / sweeper", "memory / sweeper", "runs"]
    missing = sorted(set(PEERS) - {name for each in rounds for name in each})
    lines = table(head, rows(rounds))
    lines += ["", f"Left out, see the output: {', '.join(missing)}."] if missing else []
    return Section(
        title=f"{TRIALS} trials of {EPOCHS} epochs, two at once, from cold",
        lines=lines,
        goals=goals(rounds),
    )

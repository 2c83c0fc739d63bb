"""What a config costs: a plan of 10,000 points beside Hydra's compose and multirun."""

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from bench.page import ROOT, Goal, Section, table

POINTS = 10_000
COMPOSED, JOBS = 30, 10
GROUPS = ("resnet18", "resnet34", "resnet50", "small_cnn")
VALUES = 50  # 4 models, 50 rates, 50 decays


def plan(folder: Path) -> float:
    """Seconds from the file to 10,000 checked configs, imports left out."""
    from sweeper.plan.plan import make_plan
    from sweeper.project.points import composer, configs

    file = folder / "many.yaml"
    content = {
        "name": "many",
        "project": str(ROOT),
        "search_space": {
            "model": list(GROUPS),
            "model.learning_rate": [1e-4 * (1 + n) for n in range(VALUES)],
            "model.weight_decay": [1e-3 * (1 + n) for n in range(VALUES)],
        },
        "overrides": ["data=digits"],
        "objective": {"metric": "val/acc_top1", "mode": "max"},
    }
    file.write_text(yaml.safe_dump(content))
    begin = time.perf_counter()
    made = make_plan(file, [], sweeps=folder / "sweeps")
    loaded = made.experiment
    found = {
        (config["model"]["name"], config["model"]["learning_rate"], number)
        for number, (_, config) in enumerate(
            configs(composer(loaded), loaded, made.space, made.space.points())
        )
    }
    assert made.num_trials == len(found) == POINTS
    return time.perf_counter() - begin


def compose(_: Path) -> float:
    """Seconds of one `hydra.compose` of the same config."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    points = list(itertools.product(GROUPS, range(VALUES)))[:COMPOSED]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra_compose("train", ["data=digits"])
        begin = time.perf_counter()
        for model, number in points:
            rate = f"model.learning_rate={1e-4 * (1 + number)}"
            hydra_compose("train", ["data=digits", f"model={model}", rate])
    return (time.perf_counter() - begin) / len(points)


APP = """
import hydra
@hydra.main(version_base="1.3", config_path={conf!r}, config_name="train")
def main(cfg): pass
main()
"""


def multirun(folder: Path) -> float:
    """Seconds of one job of Hydra's multirun that does nothing."""
    app = folder / "app.py"
    app.write_text(APP.format(conf=str(ROOT / "conf")))
    walls = {}
    for jobs in (1, 1 + JOBS):
        rates = ",".join(str(1e-4 * (1 + n)) for n in range(jobs))
        words = ["-m", "data=digits", f"model.learning_rate={rates}"]
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, str(app), *words, f"hydra.sweep.dir={folder}/out{jobs}"],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        assert done.returncode == 0
        walls[jobs] = time.perf_counter() - begin
    return (walls[1 + JOBS] - walls[1]) / JOBS


WAYS = {"plan": plan, "compose": compose, "multirun": multirun}


def measure(way: str) -> float:
    """One way in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.configs", way],
        capture_output=True,
        text=True,
        check=True,
    )
    found: float = json.loads(done.stdout.splitlines()[-1])
    return found


def section(count: int) -> Section:
    """Each way, `count` times in turn."""
    rounds = [{way: measure(way) for way in WAYS} for _ in range(count)]
    median = {way: statistics.median(each[way] for each in rounds) for way in WAYS}
    mine = median["plan"] / POINTS
    rows = [
        [f"sweeper, plan of {POINTS} points", f"{mine * 1e3:.3f}", "1"],
        ["Hydra's compose", f"{median['compose'] * 1e3:.0f}"],
        ["Hydra's multirun, an empty job", f"{median['multirun'] * 1e3:.0f}"],
    ]
    for row, way in zip(rows[1:], ("compose", "multirun"), strict=True):
        ratios = [each[way] / (each["plan"] / POINTS) for each in rounds]
        row.append(f"{statistics.median(ratios):.0f}")
    goal = Goal(
        text=f"plan of {POINTS} points",
        value=median["plan"],
        limit=5,
        unit="s",
    )
    return Section(
        title="Configs",
        lines=table(["", "ms a point", "/ sweeper"], rows),
        goals=[goal],
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        print(json.dumps(WAYS[sys.argv[1]](Path(name))))

"""Projects of others, no line edited: swept, killed, resumed and ranked."""

import json
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from sweeper.journal import store
from sweeper.system import locks, wandb
from sweeper.system.paths import SweepPaths
from tests.e2e.harness import ROOT, Driver, driver, status, sweeper

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

KEY = "fedcba9876543210fedcba9876543210fedcba98"
STRANGERS = ROOT / "tests" / "strangers"


@dataclass(frozen=True)
class Stranger:
    """What an experiment file says of a project."""

    target: str | tuple[str, ...]
    config: str
    space: dict[str, str]
    metric: str
    mode: str
    env: tuple[tuple[str, str], ...] = ()
    logs_itself: bool = False


LONG = ("averaged", "functions", "plainloop", "structured")  # too long for every change
PROJECTS = {
    "averaged": Stranger(
        "train:main", "conf/config.yaml", {"lr": "0.001, 0.03"}, "val/acc", "max"
    ),
    "functions": Stranger(
        "train:main",
        "conf/config.yaml",
        {"model": "linear, deep"},
        "val/acc",
        "max",
        (("FUNCTIONS_HOME", "somewhere"),),
        logs_itself=True,
    ),
    "structured": Stranger(
        "fit:run", "main_config", {"optim": "adam, sgd"}, "accuracy", "max"
    ),
    "classic": Stranger(
        "run:main",
        "configs/main.yaml",
        {"net": "small, large"},
        "val_loss",
        "min",
        (("PROJECT_ROOT", str(STRANGERS / "classic")),),
    ),
    "plainloop": Stranger(
        "loop:train", "conf/loop.yaml", {"lr": "0.01, 0.1"}, "loss", "min"
    ),
    "script": Stranger(
        ("python", "train.py", "--tanh"),
        "conf/config.yaml",
        {"model": "narrow, wide"},
        "acc/val",
        "max",
    ),
}


def write(name: str, folder: Path, *, epochs: int) -> Path:
    """An experiment file for a project; its path."""
    stranger = PROJECTS[name]
    limit = "trainer.max_epochs" if name == "classic" else "epochs"
    path = folder / f"{name}.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "project": str(STRANGERS / name),
                "target": stranger.target
                if isinstance(stranger.target, str)
                else list(stranger.target),
                "config": stranger.config,
                "overrides": [f"{limit}={epochs}"],
                "search_space": stranger.space,
                "objective": {"metric": stranger.metric, "mode": stranger.mode},
                "resources": {"gpus": 0, "cpus": 0.5},
                "wandb": "offline",
                "env": dict(stranger.env),
                "checkpoints": {"keep_best": 1, "keep_last": "running"}
                if name == "averaged"
                else {},
            }
        )
    )
    return path


def files(folder: Path) -> set[Path]:
    return {p for p in folder.rglob("*") if "__pycache__" not in p.parts}


def kill_a_trial(started: Driver, sweep: Path) -> None:
    """Kill the process of the first trial that has reported its second epoch."""
    said = re.search(r"^(\w+) epoch 2 ", started.output.read_text(), re.MULTILINE)
    assert said is not None
    holder = locks.holder(SweepPaths(sweep).trial(said[1]).lock)
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.long] if name in LONG else [])
        for name in sorted(PROJECTS)
    ],
)
def test_a_project_is_swept_killed_resumed_and_ranked(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    stranger = PROJECTS[name]
    sweeps = tmp_path / "sweeps"
    before = files(STRANGERS / name)
    # So many that the kill is in time, so few that no patience ends.
    epochs = {"plainloop": 1000, "functions": 50}.get(name, 100)
    run = (write(name, tmp_path, epochs=epochs), "--sweeps", sweeps, "--num-cpus", 2)
    with driver(*run, output=tmp_path / "out") as started:
        started.wait_for("epoch 2")
        kill_a_trial(started, sweeps / name)
        assert started.wait() == 0, started.output.read_text()
    trials = status(name, sweeps)["trials"]
    assert {t["state"] for t in trials} == {"complete"}
    expected = [str(epoch) for epoch in range(1, epochs + 1)]
    assert all(list(t["epochs"]) == expected for t in trials), trials
    assert sum(t["starts"] for t in trials) == 3, started.output.read_text()
    best = json.loads(sweeper("best", name, "--json", "--sweeps", sweeps).stdout)
    pick = max if stranger.mode == "max" else min
    assert best["value"] == pick(t["value"] for t in trials)
    assert Path(best["checkpoint"] or best["folder"]).exists()
    if name == "averaged":
        _assert_checkpoint(best, sweeps, name)
    assert files(STRANGERS / name) == before
    _assert_wandb(sweeps / name, name, epochs)
    _assert_sync(sweeps, name)
    _assert_key_is_nowhere(sweeps / name)


def _assert_checkpoint(best: dict[str, Any], sweeps: Path, name: str) -> None:
    """The file is of the best epoch, and no other trial has one."""
    done = sweeper("best", name, "--ckpt", "--sweeps", sweeps)
    path = Path(done.stdout.strip())
    assert f"epoch {best['epoch']}, val/acc {best['value']:.6g}" in done.stderr
    state = torch.load(path, map_location="cpu", weights_only=False)
    assert state["epoch"] + 1 == best["epoch"] == best["checkpoint_epoch"]
    seen = state["callbacks"]["Journal"]["seen"]
    assert seen[state["epoch"]] == best["value"] == best["checkpoint_value"]
    assert best["value"] == max(seen.values())
    assert path.name == f"acc={best['value']:.4f}.ckpt"
    left = {p.relative_to(sweeps / name).parts[1] for p in sweeps.rglob("*.ckpt")}
    assert left == {best["id"]}


def _assert_wandb(folder: Path, name: str, epochs: int) -> None:
    """Every run is in the group, and holds each epoch once."""
    uid = store.load_sweep(folder).uid
    trials = list((folder / "trials").iterdir())
    for trial in trials:
        found = [f for f in wandb.fragments(trial) if f.run]
        assert {f.run["run_id"] for f in found} == {f"{trial.name}-{uid}"}
        assert {f.run["run_group"] for f in found} == {name}
        rows = [row for fragment in found for row in fragment.rows]
        steps = [row["_step"] for row in rows]
        assert steps == sorted(set(steps))
        measured = [row for row in rows if PROJECTS[name].metric in row]
        assert len(measured) == epochs, rows
    (of_sweep,) = wandb.fragments(folder)
    assert of_sweep.run["run_id"] == f"sweep-{uid}"
    assert of_sweep.run["job_type"] == "sweep"
    assert of_sweep.run["run_group"] == name


def _assert_sync(sweeps: Path, name: str) -> None:
    """`sync` names every fragment in order, and says that the server is silent."""
    done = sweeper("sync", name, "--sweeps", sweeps)
    assert done.returncode == 2
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    lines = [line.split()[:2] for line in done.stdout.splitlines()]
    assert len(lines) >= 4  # two trials, a resumed one, the sweep
    trials = [t["id"] for t in status(name, sweeps)["trials"]]
    assert list(dict.fromkeys(run for run, _ in lines)) == [*trials, name]
    for trial in trials:
        folders = [folder for run, folder in lines if run == trial]
        assert folders == sorted(folders)  # offline-run-DATE_TIME-ID


def _assert_key_is_nowhere(folder: Path) -> None:
    """Neither the journal nor a log nor W&B's files hold the API key."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert KEY.encode() not in path.read_bytes(), path

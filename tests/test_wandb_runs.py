"""The W&B run of a trial over its attempts, read back with wandb's own reader."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.protocol import TrialSpec
from sweeper.system import metrics_file, wandb
from sweeper.system.identity import trial_id
from sweeper.system.paths import TrialPaths
from tests import attempts

ROOT = Path(__file__).parents[1]
STRANGERS = ROOT / "tests" / "strangers"
PARAMS = {"optim": "momentum", "optim.lr": 0.05}
KEY = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "ft_16C7e42F292c6912E7710c838347"  # noqa: S105


@pytest.fixture
def spec(tmp_path: Path) -> TrialSpec:
    """A trial of the project `functions`, W&B offline."""
    project = STRANGERS / "functions"
    return TrialSpec(
        id="0123456789",
        number=0,
        sweep="sweeps of many",
        target="train:main",
        config=str(project / "conf" / "config.yaml"),
        overrides=("optim=momentum", "optim.lr=0.05", "seed=3", "epochs=4"),
        params=PARAMS,
        seed=3,
        folder=str(tmp_path / "trial"),
        project=str(project),
        metric="val/acc",
        mode="max",
        env={"FUNCTIONS_HOME": str(Path.home() / "data")},
        wandb={
            "id": "0123456789-89abcdef",
            "mode": "offline",
            "project": "ours",
            "entity": "",
            "group": "of-many",
            "name": "optim=momentum lr=0.05",
            "notes": "why",
            "tags": ("a", "b"),
        },
    )


def attempt(
    spec: TrialSpec, *arguments: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """An attempt that knows secrets."""
    secrets = {"WANDB_API_KEY": KEY, "FUNCTIONS_TOKEN": TOKEN}
    return attempts.attempt(spec, *arguments, **{**secrets, **env})


def inspect(fragment: wandb.Fragment) -> dict[str, object]:
    """What wandb's own command line says of a fragment."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json"]
    done = subprocess.run(
        [*command, str(fragment.file)], capture_output=True, text=True, check=True
    )
    summary: dict[str, object] = json.loads(done.stdout)
    return summary


def assert_nowhere(folder: Path, text: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert text.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_a_killed_and_resumed_trial_is_one_run_with_each_epoch_once(
    spec: TrialSpec,
) -> None:
    folder = Path(spec.folder)
    killed = attempt(spec, "--kill-at", "3")
    assert killed.returncode == -9, killed.stderr
    done = attempt(spec)
    assert "finished" in done.stdout, done.stdout + done.stderr

    found = wandb.fragments(folder)
    assert [f.is_ended for f in found] == [False, True]
    for fragment in found:
        assert fragment.run["run_id"] == spec.wandb["id"]
        assert fragment.run["run_group"] == "of-many"
        assert fragment.run["job_type"] == "trial"
        assert fragment.run["project"] == "ours"
        assert fragment.run["display_name"] == "optim=momentum lr=0.05"
        assert fragment.run["tags"] == ["a", "b"]
        assert fragment.run["notes"] == "why"
    rows = [row for fragment in found for row in fragment.rows]
    steps = [row["_step"] for row in rows]
    assert steps == sorted(set(steps)), steps
    for name, places in (("val/acc", 4), ("train/loss_step", 12), ("test/acc", 1)):
        placed = [row["trainer/global_step"] for row in rows if name in row]
        assert len(placed) == places, (name, rows)
        assert placed == sorted(set(placed))
    _assert_described(spec, inspect(found[-1]))
    for secret in (KEY, TOKEN):
        assert_nowhere(folder, secret)
    assert not (STRANGERS / "functions" / "checkpoints").exists()


def _assert_described(spec: TrialSpec, found: Mapping[str, object]) -> None:
    """Config and summary of the last fragment."""
    config, summary = found["config"], found["summary"]
    assert isinstance(config, dict)
    assert isinstance(summary, dict)
    assert config["optim"] == "momentum"
    assert config["optim.lr"] == 0.05
    assert config["optim.momentum"] == 0.9
    assert config["model"]["_target_"] == "torch.nn.Linear"
    assert config["seed"] == 3
    assert config["point"] == trial_id(PARAMS, seed=0)
    assert config["home"] == "~/data"
    assert config["secret"] == "***"  # noqa: S105
    assert len(config["git_commit"]) == 40
    lines = (Path(spec.folder) / "metrics.jsonl").read_text().splitlines()
    values = {json.loads(li)["epoch"]: json.loads(li)["val/acc"] for li in lines}
    best = max(values.values())
    assert summary["best/val/acc"] == best
    assert values[summary["best/epoch"]] == best
    assert summary["val/acc"] == {"max": best, "last": values[4]}
    assert summary["status"] == "complete"
    assert summary["stop_reason"] == ""
    assert summary["peak_memory_mib"] > 1
    assert found["exit_code"] == 0


@pytest.mark.slow
@pytest.mark.long
def test_without_a_server_the_trial_goes_on_offline_and_says_why_it_stopped(
    spec: TrialSpec,
) -> None:
    online = replace(
        spec,
        wandb={**spec.wandb, "mode": "online"},
        more_metrics=("train/loss_step",),  # a second objective
    )
    done = attempt(online, "--stop-at", "2", WANDB_BASE_URL="http://127.0.0.1:9")
    assert "finished" in done.stdout, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("W&B: offline, since") == 1, done.stdout
    (fragment,) = wandb.fragments(Path(spec.folder))
    assert fragment.file.parent.name.startswith("offline-run-")
    found = inspect(fragment)
    summary = found["summary"]
    assert isinstance(summary, dict)
    assert (summary["status"], summary["stop_reason"]) == ("pruned", "the scheduler")
    assert found["exit_code"] == 0
    assert_nowhere(Path(spec.folder), KEY)
    measured = metrics_file.epochs(TrialPaths(Path(spec.folder)).metrics)
    of_best = measured[summary["best/epoch"]]["train/loss_step"]
    assert summary["best/train/loss_step"] == of_best


@pytest.mark.slow
def test_a_trial_that_fails_is_a_failed_run_that_says_why(spec: TrialSpec) -> None:
    project = STRANGERS / "loop"
    failing = replace(
        spec,
        target="loop:train",
        config=str(project / "conf" / "loop.yaml"),
        project=str(project),
        overrides=("behaviour=raise",),
        metric="acc",
    )
    done = attempt(failing)
    assert "failed error ValueError" in done.stdout, done.stdout + done.stderr
    (fragment,) = wandb.fragments(Path(spec.folder))
    found = inspect(fragment)
    summary = found["summary"]
    assert isinstance(summary, dict)
    assert found["exit_code"] == 1
    assert summary["status"] == "failed"
    assert summary["stop_reason"].startswith("error: ValueError: row")
    assert_nowhere(Path(spec.folder), KEY)

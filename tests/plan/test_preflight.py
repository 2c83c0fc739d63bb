"""`sweeper plan --preflight`: what the cloud would meet is met here."""

import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.plan import checks, preflight
from sweeper.plan.checks import Finding
from sweeper.plan.plan import make_plan
from sweeper.project.points import representatives
from sweeper.system.errors import ExperimentError, SweeperError
from sweeper.system.paths import SweepPaths

ROOT = Path(__file__).parents[2]
CLASSIC = ROOT / "tests" / "strangers" / "classic"


def _write(folder: Path, metric: str) -> Path:
    path = folder / "classic.yaml"
    path.write_text(
        f"project: {CLASSIC}\ntarget: run:main\nconfig: configs/main.yaml\n"
        f"env: {{PROJECT_ROOT: {CLASSIC}}}\n"
        "search_space: {net: 'small, large', net.lr: [0.1, 0.2]}\n"
        f"objective: {{metric: {metric}, mode: min}}\n"
    )
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "code", "message"),
    [
        ("val_loss", 0, "trains, validates, logs val_loss"),
        ("val_los", 2, "did you mean 'val_loss'?"),
    ],
)
@pytest.mark.few(1)
def test_one_batch_of_each_choice_is_trained(
    tmp_path: Path, metric: str, code: int, message: str
) -> None:
    command = [sys.executable, "-m", "sweeper", "plan", str(_write(tmp_path, metric))]
    done = subprocess.run(
        [*command, "--preflight", "--sweeps", str(tmp_path / "sweeps")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if " net=" in line]
    assert len(lines) == 2  # one a choice of groups, not one a point
    assert all(message in line for line in lines), lines
    assert not (tmp_path / "sweeps").exists()


def test_a_missing_login_and_a_silent_server_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert "wandb login" in checks.login().advice
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    found = checks.login()
    assert not found.is_fine
    assert "127.0.0.1:9" in found.text
    assert "written offline" in found.advice
    assert checks.login("offline").is_fine


def test_a_choice_of_groups_has_a_spec_in_a_folder_of_its_own(tmp_path: Path) -> None:
    plan = make_plan(_write(tmp_path, "val_loss"), [], sweeps=tmp_path)
    points = representatives(plan.space)
    specs = [preflight.single_spec(plan, point, tmp_path) for point in points]
    assert [spec.params["net"] for spec in specs] == ["small", "large"]
    assert len({spec.folder for spec in specs}) == 2
    assert {spec.wandb["mode"] for spec in specs} == {"none"}


@pytest.mark.parametrize(
    ("overrides", "count"),
    [
        ([], 0),  # four trials of two choices: the first ones are the check
        (["preflight=true"], 2),
        (["seeds=[1, 2, 3]"], 2),
        (["seeds=[1, 2, 3]", "preflight=false"], 0),
        (["seeds=[1, 2, 3]", "budget.trials=8"], 0),
    ],
)
def test_batches_are_tried_where_a_sweep_is_longer_than_they_are(
    tmp_path: Path, overrides: list[str], count: int
) -> None:
    plan = make_plan(_write(tmp_path, "val_loss"), overrides, sweeps=tmp_path)
    assert len(preflight.choices(plan)) == count


def _bad(what: str, message: str, *, is_certain: bool) -> Finding:
    return Finding(
        topic=what,
        is_fine=False,
        text=message,
        is_certain=is_certain,
        traceback="in fit.py",
    )


def test_what_may_be_the_cpus_alone_is_told_and_stops_nothing(tmp_path: Path) -> None:
    plan = make_plan(_write(tmp_path, "val_loss"), [], sweeps=tmp_path)
    told: list[str] = []
    found = [_bad("net=small", "no NVIDIA driver", is_certain=False)]
    preflight.admit(plan, found, say=told.append)
    assert told == ["preflight: net=small: no NVIDIA driver"]


def test_errors_that_every_trial_would_meet_are_listed(tmp_path: Path) -> None:
    plan = make_plan(_write(tmp_path, "val_loss"), [], sweeps=tmp_path)
    found = [
        _bad("net=small", "KeyError: 'a'", is_certain=True),
        _bad("net=large", "KeyError: 'b'", is_certain=True),
    ]
    with pytest.raises(SweeperError) as raised:
        preflight.admit(plan, found, say=print)
    message = str(raised.value)
    assert "net=small: KeyError: 'a'" in message
    assert "net=large: KeyError: 'b'" in message
    assert "--no-preflight" in message
    errors = SweepPaths(plan.folder).preflight_errors.read_text()
    assert errors.count("in fit.py") == 2


def test_an_objective_that_is_not_logged_is_an_error_of_its_line(
    tmp_path: Path,
) -> None:
    plan = make_plan(_write(tmp_path, "val_los"), [], sweeps=tmp_path)
    text = "objective.metric: 'val_los' is not logged by the trial"
    with pytest.raises(ExperimentError, match=r"classic.yaml:6: objective.metric"):
        preflight.admit(plan, [_bad("a=1", text, is_certain=True)], say=print)


def test_space_on_disk_is_told(tmp_path: Path) -> None:
    assert "GiB free" in checks.disk(tmp_path / "new").text


def test_a_config_that_demands_its_groups_is_planned(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    (conf / "net").mkdir(parents=True)
    (conf / "main.yaml").write_text("defaults:\n  - _self_\n  - net: ???\nseed: 1\n")
    for name in ("a", "b"):
        (conf / "net" / f"{name}.yaml").write_text("width: 1\n")
    (tmp_path / "train.py").write_text("def main(cfg):\n    return 1.0\n")
    path = tmp_path / "e.yaml"
    path.write_text(
        f"project: {tmp_path}\ntarget: train:main\nconfig: conf/main.yaml\n"
        "search_space: {net: 'a, b'}\nobjective: {metric: x}\n"
    )
    assert make_plan(path, [], sweeps=tmp_path).seed_key == "seed"

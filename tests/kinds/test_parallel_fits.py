"""A Trainer of several processes ends the sweep with one message, before its work."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy

from sweeper.system.errors import TargetError
from sweeper.trial import active_trial, trainer_setup
from sweeper.trial.active_trial import ActiveTrial
from tests.attempts import attempt
from tests.cases.harness import Sweep, copy_case, run_case
from tests.exact.running import make_spec

REFUSED: tuple[dict[str, Any], ...] = (
    {"strategy": "ddp", "devices": 2},
    {"strategy": "auto", "devices": 2},
    {"devices": 3},
    {"strategy": DDPStrategy(), "devices": 2},
    {"strategy": "ddp_spawn", "devices": 1},
    {"strategy": "ddp_fork", "devices": 2},
    {"strategy": "ddp_notebook", "devices": 1},
    {"strategy": "ddp", "devices": 1, "num_nodes": 2},
)
ON_GPUS: tuple[dict[str, Any], ...] = (
    {"strategy": "fsdp"},
    {"strategy": "deepspeed_stage_2", "devices": 1},
    {"devices": [0, 1]},
    {"devices": "0,1"},
    {"devices": "2"},
    {"devices": 1, "num_nodes": 4},
)
ALLOWED: tuple[dict[str, Any], ...] = (
    {},
    {"devices": 1},
    {"devices": "auto"},
    {"devices": -1},
    {"devices": [1]},
    {"strategy": "ddp", "devices": 1},
    {"strategy": "auto", "devices": "1", "num_nodes": 1},
)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[ActiveTrial]:
    made = ActiveTrial(spec=make_spec(tmp_path, []))
    active_trial.activate(made)
    yield made
    active_trial.activate(None)


@pytest.mark.parametrize("settings", REFUSED)
def test_a_trainer_of_several_processes_is_refused_with_what_works(
    trial: ActiveTrial, settings: dict[str, Any]
) -> None:
    with pytest.raises(TargetError, match=r"set devices=1.*resources\.gpus: 1"):
        Trainer(accelerator="cpu", logger=False, **settings)


@pytest.mark.parametrize("settings", [{}, {"strategy": "ddp"}, {"devices": 1}])
def test_a_trainer_of_one_process_is_taken(
    trial: ActiveTrial, settings: dict[str, Any]
) -> None:
    Trainer(**{"accelerator": "cpu", "devices": 1, "logger": False, **settings})


def test_outside_of_a_trial_every_trainer_is_taken() -> None:
    Trainer(accelerator="cpu", devices=2, strategy="ddp_spawn", logger=False)


@pytest.mark.parametrize("settings", [*REFUSED, *ON_GPUS])
def test_a_preflight_refuses_by_the_arguments_alone(settings: dict[str, Any]) -> None:
    assert "set devices=1" in trainer_setup.refusal(settings)


@pytest.mark.parametrize("settings", ALLOWED)
def test_a_preflight_leaves_to_the_machine_what_it_decides(
    settings: dict[str, Any],
) -> None:
    assert trainer_setup.refusal(settings) == ""


@pytest.mark.slow
def test_ddp_on_one_device_resumes_as_if_it_was_not_killed(tmp_path: Path) -> None:
    project = copy_case("C17", tmp_path)
    ends = []
    for name, env in (("whole", {"NO_CUT": "1"}), ("killed", {})):
        spec = make_spec(
            tmp_path / name,
            ["strategy=ddp", "devices=1"],
            target="train:main",
            config=str(project / "conf" / "config.yaml"),
            project=str(project),
            metric="val/acc",
            mode="max",
        )
        if name == "killed":
            assert attempt(spec).returncode == -9  # in its second epoch
        done = attempt(spec, **env)
        assert done.stdout.splitlines()[-1].startswith("finished"), done.stdout
        ends.append((tmp_path / name / "final.json").read_text())
    assert ends[0] == ends[1]


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize(
    "words",
    [
        ("target=python train.py", "retry.error=3"),
        pytest.param(
            ("preflight=true", "overrides=[strategy=ddp_spawn]"),
            marks=pytest.mark.long,
        ),
    ],
)
@pytest.mark.long
def test_a_sweep_ends_with_one_message_and_no_retry(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    sweep: Sweep = run_case("C17", tmp_path, *words)
    assert sweep.code == 2
    assert sweep.output.count("several processes") == 1
    assert "Traceback" not in sweep.output
    starts = (
        [trial["starts"] for trial in sweep.trials()] if sweep.folder.exists() else []
    )
    assert max(starts, default=0) <= 1

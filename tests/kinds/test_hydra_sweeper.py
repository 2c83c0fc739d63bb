"""What is written for Hydra's own sweeper is translated, refused or without effect."""

import json
import shutil
from pathlib import Path

import pytest

from sweeper.experiment import loading
from sweeper.plan.plan import Plan, make_plan
from sweeper.system.errors import ExperimentError
from tests.attempts import attempt
from tests.cases.harness import CASES
from tests.kinds.specs import spec_of

HEAD = "target: train:main\nconfig: conf/train.yaml\n"
SPACE = "search_space: {model: 'mlp, conv', model.lr: [0.1, 0.2]}\n"
OBJECTIVE = "objective: {metric: val/acc_best, mode: max}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(CASES / "C22", tmp_path / "project")
    (tmp_path / "project" / "pyproject.toml").touch()
    return tmp_path / "project"


def plan(project: Path, text: str) -> Plan:
    file = project / "exp.yaml"
    file.write_text(text)
    return make_plan(file, (), sweeps=project / "sweeps")


@pytest.mark.parametrize(
    ("pasted", "line", "parts"),
    [
        (
            "optimized_metric: f1\nhydra:\n  sweeper:\n    direction: minimize\n"
            "    n_trials: 7\n    params:\n      model.lr: interval(0.1, 1)\n",
            2,
            [
                "search_space:\n  model.lr: interval(0.1, 1)\n",
                "objective:\n  metric: f1\n  mode: min\n",
                "budget:\n  trials: 7\nsearch: tpe",
            ],
        ),
        ("hydra: {mode: MULTIRUN}\n", 1, ["search_space:", "budget:", "objective:"]),
        ("defaults: [{override /hydra/sweeper: optuna}]\n", 1, ["remove defaults"]),
        (
            "hydra: {sweeper: {sampler: {_target_: optuna.samplers.RandomSampler}, "
            "n_trials: 3}}\n",
            1,
            ["search: random"],
        ),
    ],
)
def test_a_pasted_file_is_answered_with_the_lines_to_write(
    tmp_path: Path, pasted: str, line: int, parts: list[str]
) -> None:
    file = tmp_path / "exp.yaml"
    file.write_text(pasted)
    with pytest.raises(ExperimentError) as caught:
        loading.load(file)
    assert caught.value.line == line
    for part in ["Hydra's own sweeper", *parts]:
        assert part in str(caught.value)


def test_the_lines_that_are_advised_are_an_experiment(project: Path) -> None:
    pasted = (project / "conf" / "hparams_search" / "optuna.yaml").read_text()
    file = project / "exp.yaml"
    file.write_text(pasted)
    with pytest.raises(ExperimentError) as caught:
        loading.load(file)
    _, _, advised = str(caught.value).partition("and write:\n")
    advised = advised.replace("search_space:\n", "search_space:\n  model: mlp, conv\n")
    made = plan(project, HEAD + advised)
    assert made.num_trials == 25
    assert str(made.experiment.objective) == "val/acc_best (max)"


@pytest.mark.parametrize(
    "word",
    [
        "hydra/sweeper=basic",
        "hydra/launcher=basic",
        "hydra.sweeper.params={x: '1,2'}",
        "hparams_search=optuna",  # whose plugin is not installed
        "hparams_search=basic",
        "hparams_search=keys",
    ],
)
def test_an_override_for_hydras_sweeper_is_refused_with_the_next_step(
    project: Path, word: str
) -> None:
    with pytest.raises(ExperimentError) as caught:
        plan(project, f'{HEAD}overrides:\n- "{word}"\n{SPACE}{OBJECTIVE}')
    assert caught.value.line == 4
    for part in (word.partition("=")[0], "Hydra's own sweeper", "search_space:"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "parts"),
    [
        (SPACE.replace("model.lr", "model.rl"), 3, ["model.rl", "lr, width"]),
        (SPACE.replace("conv", "cnov"), 3, ["no option 'cnov'", "conv"]),
        (f"overrides: [data.size=3]\n{SPACE}", 3, ["data.size"]),
        ("search_space: {model.lr: [0.1, 0.2]}\n", 2, ["'model'", "???"]),
        ("overrides: [model=mpl]\nsearch_space: {model.lr: [1, 2]}\n", 3, ["mlp"]),
    ],
)
def test_an_open_choice_hides_no_other_error(
    project: Path, text: str, line: int, parts: list[str]
) -> None:
    with pytest.raises(ExperimentError) as caught:
        plan(project, HEAD + text + OBJECTIVE)
    assert caught.value.line == line
    for part in parts:
        assert part in str(caught.value)


def test_an_open_choice_is_made_by_the_sweep_or_an_override(project: Path) -> None:
    assert plan(project, HEAD + SPACE + OBJECTIVE).space.size == 4
    space = "overrides: [model=mlp]\nsearch_space: {model.lr: [1, 2]}\n"
    assert plan(project, HEAD + space + OBJECTIVE).space.size == 2


@pytest.mark.slow
@pytest.mark.parametrize("target", ["train:main", "python train.py"])
def test_a_trial_is_one_job_whatever_the_config_says(
    project: Path, target: str
) -> None:
    spec = spec_of(
        project,
        "model=mlp",
        "model.lr=0.2",
        config="conf/train.yaml",
        target=target,
        metric="val/acc_best",
        number=4,
    )
    done = attempt(spec)
    assert done.stdout.splitlines()[-1].startswith("finished"), done.stderr
    folder = Path(spec.folder)
    assert (folder / "jobs.txt").read_text() == f"4-{spec.id} 16\n"
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["val/acc_best"] for line in lines] == [0.2]

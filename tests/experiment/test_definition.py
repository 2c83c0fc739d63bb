"""The schema of the experiment file accepts what `load` accepts."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeper import cli
from sweeper.experiment import yaml_lines
from sweeper.experiment.definition import schema
from sweeper.experiment.loading import load
from sweeper.system.errors import ExperimentError
from tests.sweeps import FULL, SMALLEST

ROOT = Path(__file__).parents[2]
VALIDATOR = jsonschema.Draft202012Validator(schema())

# Lines of a file, each valid alone or wrong in some way; YAML keeps the last of none.
LINES = (
    *("seeds: 7", "seeds: [1, 2]", "seeds: []", "seeds: a", "name: a", "name: a/b"),
    *("search: null", "search: tpe", "search: {_target_: a.B}", "search: {a: 1}"),
    *("scheduler: none", "scheduler: 3", "notes: 1", "notes: ''", "chdir: yes"),
    *("wandb: off", "wandb: null", "wandb: offline", "wandb: {tags: [a]}", "wandb: 3"),
    *("env: {A: 1}", "env: {A: b}", "env: {A: 1.5}", "env: {1: a}", "env: []"),
    *("timeout: 10m", "timeout: 90", "timeout: -1", "timeout: soon", "budget: {}"),
    *("budget: {trials: 1}", "budget: {trials: 0}", "budget: {trials: 1.5}"),
    *("resources: {gpus: auto}", "resources: {gpus: 0.5}", "resources: {cpus: 0}"),
    *("baseline: {x: 1}", "variants: {a: [b=1]}", "variants: {a: b}", "where: x > 1"),
    *("storage: null", "project: ..", "project: 3"),
    *("preflight: auto", "preflight: no", "preflight: null", "preflight: 1"),
    *("unknown: 1", "path: a", "lines: {}", "retry: {oom: 1}", "retry: {oops: 1}"),
)


@pytest.mark.parametrize("text", [SMALLEST, FULL])
def test_whole_files_are_accepted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "exp.yaml"
    path.write_text(text)
    assert not list(VALIDATOR.iter_errors(yaml_lines.read(path).data))


def test_every_experiment_that_is_shipped_is_accepted() -> None:
    files = sorted((ROOT / "experiments").glob("*.yaml"))
    assert files
    for path in files:
        assert not list(VALIDATOR.iter_errors(yaml_lines.read(path).data))


@given(lines=st.lists(st.sampled_from(LINES), max_size=4, unique=True))
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_what_load_accepts_the_schema_accepts(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "exp.yaml"
    path.write_text(SMALLEST + "\n".join(lines))
    try:
        load(path)
    except ExperimentError:
        return
    assert not list(VALIDATOR.iter_errors(yaml_lines.read(path).data))


@pytest.mark.parametrize(
    "text",
    [
        "search_space: [{x: 1}, {y: 2}]\nobjective: {metric: a}",
        "search_space: {x: 1, y: {when: x > 0, values: [2]}}\nobjective: {metric: a}",
        "search_space: {x: 1}\nobjective: [{metric: a}, {metric: b, mode: min}]",
    ],
)
def test_lists_of_spaces_and_objectives_are_accepted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "exp.yaml"
    path.write_text(text)
    load(path)
    assert not list(VALIDATOR.iter_errors(yaml_lines.read(path).data))


@pytest.mark.parametrize(
    "text",
    [
        "search_space: [3]\nobjective: {metric: a}",
        "search_space: {x: 1}\nobjective: [{metric: a, mod: min}]",
        "search_space: {x: 1}\nobjective: acc",
        "objective: {metric: a}",
        SMALLEST + "unknown: 1",
        SMALLEST + "budget: {trials: many}",
        SMALLEST + "seeds: [a]",
        SMALLEST + "retry: {oops: 1}",
    ],
)
def test_an_editor_marks_what_is_plainly_wrong(tmp_path: Path, text: str) -> None:
    path = tmp_path / "exp.yaml"
    path.write_text(text)
    assert not VALIDATOR.is_valid(yaml_lines.read(path).data)


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema()

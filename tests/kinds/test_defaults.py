"""Defaults: the seed, the target, the folder of sweeps, the cards, what a hint says."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sweeper
from sweeper import cli
from sweeper.experiment import loading
from sweeper.experiment.definition import schema
from sweeper.experiment.space import parse
from sweeper.packing import booking
from sweeper.plan.plan import Plan, headline, make_plan
from sweeper.system import paths
from sweeper.system.errors import ExperimentError, SweeperError
from tests.cases.harness import copy_case, run_case
from tests.e2e.harness import ROOT, driver
from tests.helpers import make_experiment

SPACE = "search_space: {lr: [0.1, 0.2]}\nobjective: {metric: acc, mode: max}\n"
TARGET = "target: work:main\n"


def make_project(folder: Path, config: str = "lr: 0.1\n", text: str = "") -> Path:
    """Write a project whose one experiment is `experiments/exp.yaml`."""
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").touch()
    (folder / "conf").mkdir()
    (folder / "conf" / "train.yaml").write_text(config)
    (folder / "work.py").write_text("def main(cfg):\n    pass\n")
    (folder / "experiments").mkdir()
    (folder / "experiments" / "exp.yaml").write_text(text or TARGET + SPACE)
    return folder


def plan_of(project: Path, *words: str) -> Plan:
    """Plan the project's experiment."""
    file = project / "experiments" / "exp.yaml"
    return make_plan(file, words, sweeps=project / "sweeps")


# ---- seeds


@pytest.mark.parametrize(
    ("config", "seed", "key"),
    [
        ("seed: 7\n", 7, "seed"),
        ("seed: 0\n", 0, "seed"),
        ("seed: '12'\n", 12, "seed"),
        ("seed: ${base}\nbase: 9\n", 9, "seed"),
        ("seed: ${oc.env:SWEEPER_NO_SUCH,5}\n", 5, "seed"),
        # Not a seed that can be used: 42, set where the config has the key.
        ("seed: null\n", 42, "seed"),
        ("seed: ???\n", 42, "seed"),
        ("seed: -1\n", 42, "seed"),
        ("seed: 4294967296\n", 42, "seed"),
        ("seed: ${oc.env:SWEEPER_NO_SUCH}\n", 42, "seed"),
        # A config without the key is not given one, nor is a mapping overwritten.
        ("", 42, ""),
        ("training: {seed: 3}\n", 42, ""),
        ("seed: {torch: 3, numpy: 4}\n", 42, ""),
    ],
)
def test_without_seeds_the_seed_of_the_config_is_used(
    tmp_path: Path, config: str, seed: int, key: str
) -> None:
    plan = plan_of(make_project(tmp_path, f"lr: 0.1\n{config}"))
    assert plan.experiment.seeds == (seed,)
    assert plan.seed_key == key
    assert f"seeds {seed}" in headline(plan)


@pytest.mark.parametrize(
    ("words", "seeds"), [("seeds=3", (3,)), ("seeds=[1, 2]", (1, 2))]
)
def test_seeds_of_the_file_win(
    tmp_path: Path, words: str, seeds: tuple[int, ...]
) -> None:
    project = make_project(tmp_path, "lr: 0.1\nseed: 7\n")
    assert plan_of(project, words).experiment.seeds == seeds


def test_a_group_may_bring_the_seed(tmp_path: Path) -> None:
    project = make_project(tmp_path, "defaults: [_self_, mode: slow]\nlr: 0.1\n")
    (project / "conf" / "mode").mkdir()
    for name, seed in (("slow", 3), ("fast", 4)):
        text = f"# @package _global_\nseed: {seed}\n"
        (project / "conf" / "mode" / f"{name}.yaml").write_text(text)
    assert plan_of(project).experiment.seeds == (3,)
    assert plan_of(project, "overrides=[mode=fast]").experiment.seeds == (4,)


def test_what_a_sweep_keeps_names_the_seed_and_shuffles_as_it_did(
    tmp_path: Path,
) -> None:
    project = make_project(tmp_path, "lr: 0.1\nseed: 7\n")
    plan = plan_of(project, "search_space.lr=shuffle(range(1, 30))")
    kept = project / "sweeps" / "exp" / "experiment.yaml"
    kept.parent.mkdir(parents=True)
    kept.write_text(loading.dump(plan.experiment))
    again = loading.load(kept)
    assert again.seeds == (7,)
    assert [*parse(again, {}).points()] == [*plan.space.points()]


def test_the_schema_promises_no_seed() -> None:
    assert "default" not in schema()["properties"]["seeds"]


# ---- the target


@pytest.mark.parametrize(
    "more", ["", "config: conf/train\n", "config: conf/train.yaml\n"]
)
def test_a_project_of_its_own_must_name_its_target(tmp_path: Path, more: str) -> None:
    project = make_project(tmp_path, text=more + SPACE)
    with pytest.raises(
        ExperimentError, match=r"target: missing; .*add the line target:"
    ):
        plan_of(project)
    assert plan_of(project, "target=work:main").num_trials == 2


def test_a_train_command_on_a_config_of_its_own_must_name_its_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.chdir(make_project(tmp_path))
    assert cli.main(["train", "lr=0.1", "--wandb", "none"]) == 2
    assert "--target my_project.train:main" in capsys.readouterr().err
    with pytest.raises(SweeperError, match="--target"):
        sweeper.train("lr=0.1", config="conf/train.yaml", wandb="none")
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.parametrize("config", ["conf/train.yaml", "pkg://sweeper.conf/train"])
def test_a_config_of_sweeper_needs_no_target(tmp_path: Path, config: str) -> None:
    assert paths.is_packaged(ROOT / config)
    assert not paths.is_packaged(tmp_path / "conf" / "train.yaml")


# ---- the folder of all sweeps


@pytest.mark.parametrize("shell", [".", "experiments", "conf", ".."])
@pytest.mark.parametrize("name", ["run", "plan"])
def test_sweeps_of_a_file_are_at_the_root_of_its_project(
    tmp_path: Path, shell: str, name: str
) -> None:
    project = make_project(tmp_path / "project")
    os.chdir(project / shell)
    os.environ.pop("SWEEPER_SWEEPS", None)
    file = os.path.relpath(project / "experiments" / "exp.yaml")
    assert cli.parse([name, file]).sweeps == project / "sweeps"


@pytest.mark.parametrize("shell", [".", "experiments", "conf"])
@pytest.mark.parametrize(
    "words",
    ["status x", "best x", "best x --config", "report x", "stop x", "train", "doctor"],
)
def test_sweeps_are_found_from_every_folder_of_a_project(
    tmp_path: Path, shell: str, words: str
) -> None:
    project = make_project(tmp_path)
    os.chdir(project / shell)
    os.environ.pop("SWEEPER_SWEEPS", None)
    assert cli.parse(words.split()).sweeps == project / "sweeps"


def test_the_nearest_marked_folder_is_the_root(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    project = make_project(tmp_path / "part")
    os.environ.pop("SWEEPER_SWEEPS", None)
    file = project / "experiments" / "exp.yaml"
    assert paths.default_sweeps(file) == project / "sweeps"
    assert paths.default_sweeps(tmp_path / "other" / "x.yaml") == tmp_path / "sweeps"


def test_an_option_and_the_environment_win(tmp_path: Path) -> None:
    os.chdir(make_project(tmp_path))
    os.environ["SWEEPER_SWEEPS"] = "elsewhere"
    assert cli.parse(["status", "x"]).sweeps == Path("elsewhere")
    assert cli.parse(["status", "x", "--sweeps", "here"]).sweeps == Path("here")


def test_python_finds_the_sweeps_that_the_shell_finds(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    kept = project / "sweeps" / "toy" / "experiment.yaml"
    kept.parent.mkdir(parents=True)
    kept.write_text(loading.dump(make_experiment(tmp_path)))
    os.environ.pop("SWEEPER_SWEEPS", None)
    os.chdir(project / "conf")
    assert sweeper.load_sweep("toy").folder == project / "sweeps" / "toy"
    assert cli.main(["status", "toy"]) == 0


# ---- the real thing starts from trained weights


def test_the_experiment_on_real_crops_starts_from_trained_weights() -> None:
    file = ROOT / "experiments" / "jersey_t4.yaml"
    assert "model.pretrained=true" in loading.load(file).overrides
    comments = [line for line in file.read_text().splitlines() if line[:1] == "#"]
    assert "Without a network" in "".join(comments)


# ---- hints


def test_no_text_advises_to_install_a_package_of_our_name() -> None:
    """A package of that name on the public index is another project."""
    files = [
        *(ROOT / "sweeper").rglob("*.py"),
        *(ROOT / "conf").rglob("*.yaml"),
        *(ROOT / "experiments").rglob("*.yaml"),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "README.md",
    ]
    advice = re.compile(r"(pip3? install|uv add|uvx|pipx).* [\"']?sweeper(\W|$)")
    for file in files:
        for line in file.read_text().splitlines():
            assert not advice.search(line), f"{file}: {line}"


# ---- two sweeps on the cards of one machine

HOLDER = """
import sys, time
from pathlib import Path
from sweeper.packing import booking
from sweeper.experiment import loading
with booking.book(loading.load(Path(sys.argv[1])), count=2):
    print("booked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path: Path) -> "Iterator[subprocess.Popen[str]]":
    """A process that books two cards for the sweep `first`."""
    os.environ["TMPDIR"] = str(tmp_path)
    (tmp_path / "first").mkdir()
    file = make_experiment(tmp_path / "first", name="first").path
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "booked\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_second_sweep_on_the_same_cards_names_the_first_one(
    tmp_path: Path, other: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    second = make_experiment(tmp_path, name="second")
    with booking.book(second, count=1) as found:
        assert [(b.sweep, b.pid) for b in found] == [("first", other.pid)]
        assert "'first'" in booking.warning(found[0])
        assert str(other.pid) in booking.warning(found[0])
    # One without cards, one with other cards, and one on the CPU share nothing.
    with booking.book(second, count=0) as found:
        assert found == ()
    os.environ["CUDA_VISIBLE_DEVICES"] = "4,5"
    with booking.book(second, count=2) as found:
        assert found == ()
    del os.environ["CUDA_VISIBLE_DEVICES"]
    on_cpu = make_experiment(tmp_path, resources={"gpus": 0})
    with booking.book(on_cpu, count=2) as found:
        assert found == ()
    other.kill()
    other.wait()
    with booking.book(second, count=2) as found:
        assert found == (), "a driver that was killed has no cards"


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.e2e
def test_a_sweep_from_a_subfolder_trains_the_project_s_seed(tmp_path: Path) -> None:
    project = copy_case("loop_of_epochs", tmp_path)
    (project / "experiments").mkdir()
    text = (project / "exp.yaml").read_text().replace("preflight: true", "")
    (project / "experiments" / "one.yaml").write_text(text)
    os.chdir(project / "experiments")
    os.environ.pop("SWEEPER_SWEEPS", None)
    assert cli.main(["run", "one.yaml", "-q", "search_space.lr=[0.1]"]) == 0
    view = sweeper.load_sweep("one")
    assert view.folder == project / "sweeps" / "one"
    (trial,) = view.trials
    assert trial.seed == 7
    metrics = (view.folder / "trials" / trial.id / "metrics.jsonl").read_text()
    assert metrics.count('"seed": 7') == 2


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.e2e
def test_two_sweeps_at_once_on_one_card_the_second_one_says_so(tmp_path: Path) -> None:
    project = copy_case("loop_of_epochs", tmp_path)
    cards = ("--num-gpus", "1", "--num-cpus", "2", "resources.gpus=1")
    words = ("exp.yaml", "name=first", "seconds=600", "preflight=false", *cards)
    with driver(*words, output=tmp_path / "out", cwd=project) as started:
        started.wait_for(" running")
        second = run_case("loop_of_epochs", tmp_path, *cards, "preflight=false")
        assert second.code == 0, second.output
        assert f"the sweep 'first' (process {started.process.pid})" in second.output
        started.kill(signal.SIGKILL)
        started.wait()
    third = run_case("loop_of_epochs", tmp_path, *cards, name="third")
    assert "books card" not in third.output

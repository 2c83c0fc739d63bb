"""Which training a command line means."""

from pathlib import Path

import pytest

from sweeper.driver.training import make_spec
from sweeper.protocol import TrialSpec
from sweeper.system.paths import TrialPaths, write_text


def spec(*overrides: str, **settings: object) -> TrialSpec:
    arguments: dict[str, object] = {
        "config": Path("conf/train.yaml"),
        "target": "sweeper.vision.train:train",
        "metric": "val/acc_top1",
        "mode": "max",
        "wandb_mode": "none",
        "sweeps": Path("sweeps"),
        **settings,
    }
    return make_spec(overrides, **arguments)  # type: ignore[arg-type]


def test_the_folder_is_of_the_overrides_in_any_order() -> None:
    one, other = spec("model=resnet50", "seed=1"), spec("seed=1", "model=resnet50")
    assert one.folder == other.folder
    assert one.folder != spec("model=resnet50", "seed=2").folder


def test_what_comes_after_a_training_does_not_make_it_another() -> None:
    plain, tested = spec("model=resnet50"), spec("model=resnet50", after=["test=true"])
    assert plain.folder == tested.folder
    assert tested.overrides == ("model=resnet50", "test=true")


def test_another_folder_has_another_run_of_wandb_and_the_same_one_keeps_it(
    tmp_path: Path,
) -> None:
    first, other = (spec("seed=1", sweeps=tmp_path / name) for name in "ab")
    assert first.id == other.id
    assert first.wandb["id"] != other.wandb["id"]
    write_text(TrialPaths(Path(first.folder)).spec, first.to_json())
    assert spec("seed=1", sweeps=tmp_path / "a") == first


@pytest.mark.parametrize(
    ("overrides", "seed"),
    [((), 42), (("seed=7",), 7), (("seed=null",), 42), (("++seed=8",), 8)],
)
def test_epochs_are_seeded_by_the_seed_of_the_composed_config(
    overrides: tuple[str, ...], seed: int
) -> None:
    assert spec(*overrides).seed == seed


def test_two_projects_with_one_folder_of_sweeps_train_apart(tmp_path: Path) -> None:
    folders = set()
    for name in ("one", "two"):
        (tmp_path / name / "conf").mkdir(parents=True)
        (tmp_path / name / "pyproject.toml").write_text("")
        config = tmp_path / name / "conf" / "train.yaml"
        config.write_text("seed: 0\n")
        folders.add(spec("seed=1", config=config, sweeps=tmp_path / "sweeps").folder)
    assert len(folders) == 2


def test_a_project_that_moves_with_its_sweeps_has_the_same_folder(
    tmp_path: Path,
) -> None:
    names = []
    for name in ("here", "there"):
        project = tmp_path / name
        (project / "conf").mkdir(parents=True)
        (project / "pyproject.toml").write_text("")
        config = project / "conf" / "train.yaml"
        config.write_text("seed: 0\n")
        folder = Path(spec("seed=1", config=config, sweeps=project / "sweeps").folder)
        names.append(folder.relative_to(project))
    assert names[0] == names[1]

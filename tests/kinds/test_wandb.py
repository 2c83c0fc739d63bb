"""W&B: whose project a run is in, several runs in one trial, failures of W&B."""

from pathlib import Path

import pytest

from sweeper.protocol import TrialSpec
from sweeper.system import metrics_file, wandb
from tests.attempts import attempt
from tests.cases.harness import CASES

pytestmark = pytest.mark.slow
PROJECT = CASES / "wandb_runs"


def make_spec(folder: Path, function: str, *overrides: str, **wandb: str) -> TrialSpec:
    """A trial of one of the targets, W&B offline."""
    return TrialSpec(
        id="0123456789",
        number=0,
        sweep="runs",
        target=f"train:{function}",
        config=str(PROJECT / "conf" / "config.yaml"),
        overrides=overrides,
        params={"lr": 0.1},
        seed=3,
        folder=str(folder / "trial"),
        project=str(PROJECT),
        metric="cv",
        mode="min",
        wandb={
            "id": "0123456789-89abcdef",
            "mode": "offline",
            "project": "",
            "entity": "",
            "group": "runs",
            "name": "lr=0.1",
            "notes": "",
            "tags": ("ours",),
            **wandb,
        },
    )


def train(spec: TrialSpec, **env: str) -> str:
    """An attempt that ends well; what it printed."""
    done = attempt(spec, **env)
    assert "finished" in done.stdout, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows_of(spec: TrialSpec) -> list[dict[str, object]]:
    found = wandb.fragments(Path(spec.folder))
    return [dict(row) for fragment in found for row in fragment.rows]


def test_every_row_of_several_runs_in_one_trial_is_kept(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "folds")
    said = train(spec)
    rows = [row for row in rows_of(spec) if "fold_loss" in row]
    assert len(rows) == 12
    assert {(row["fold"], row.get("sweeper/part", 0)) for row in rows} == {
        (0, 0),
        (1, 1),
        (2, 2),
    }
    assert [row["fold_loss"] for row in rows if row["fold"] == 1] == pytest.approx(
        [1.1, 1.05, 1 + 0.1 / 3, 1.025]
    )
    assert sum("cv" in row for row in rows_of(spec)) >= 1
    assert said.count("opens several runs") == 1, said


def test_several_runs_in_a_killed_and_resumed_trial_have_each_row_once(
    tmp_path: Path,
) -> None:
    spec = make_spec(tmp_path, "folds", "kill_in=1")
    killed = attempt(spec)
    assert killed.returncode == -9, killed.stderr
    train(spec)
    rows = [row for row in rows_of(spec) if "fold_loss" in row]
    places = [(row["fold"], row["fold_loss"]) for row in rows]
    assert len(places) == len(set(places)) == 12, places
    steps = [row["_step"] for row in rows_of(spec)]
    assert steps == sorted(set(steps)), steps


@pytest.mark.parametrize(
    ("function", "settings", "env", "project", "entity"),
    [
        ("named", {"project": "ours"}, {}, "ours", "a-team"),
        ("named", {"entity": "us"}, {"WANDB_PROJECT": "shell"}, "theirs", "us"),
        ("silent", {}, {}, "sweeper", ""),
    ],
)
def test_the_file_then_the_project_then_the_shell_name_the_wandb_project(
    tmp_path: Path,
    function: str,
    settings: dict[str, str],
    env: dict[str, str],
    project: str,
    entity: str,
) -> None:
    spec = make_spec(tmp_path, function, **settings)
    train(spec, **env)
    (fragment,) = wandb.fragments(Path(spec.folder))
    assert fragment.run["project"] == project
    assert fragment.run.get("entity", "") == entity
    assert fragment.run["run_group"] == "runs"
    assert {row["epoch"] for row in fragment.rows} >= {1, 2}


def test_the_second_start_stays_in_the_project_of_the_first(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "silent")
    train(spec, WANDB_PROJECT="shell")
    train(spec)
    projects = [
        fragment.run["project"] for fragment in wandb.fragments(tmp_path / "trial")
    ]
    assert projects == ["shell", "shell"]


def test_a_training_outlives_the_death_of_wandbs_process(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "writer_dies")
    said = train(spec)
    values = metrics_file.epochs(Path(spec.folder) / "metrics.jsonl")
    assert {epoch: row["cv"] for epoch, row in values.items()} == pytest.approx(
        {1: 0.1, 2: 0.05, 3: 0.1 / 3}
    )
    assert said.count("W&B failed") == 1, said
    train(spec)  # the next start adds what is missing
    assert [row["epoch"] for row in rows_of(spec) if "loss" in row] == [1, 2, 3]


def test_a_run_has_the_console_and_what_both_sides_say_of_it(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "named")
    train(spec)
    (fragment,) = wandb.fragments(Path(spec.folder))
    assert fragment.run["project"] == "theirs"
    assert fragment.run["notes"] == "why"
    assert fragment.run["tags"] == ["ours", "mine"]
    assert "epoch 3" in (fragment.file.parent / "files" / "output.log").read_text()

"""The checkpoint that is handed out holds the weights of the value beside it."""

import gc
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from sweeper.journal import best_checkpoint
from sweeper.journal.best_checkpoint import BestCheckpoint
from sweeper.protocol import Answer, Decision, Message, Report, TrialSpec
from sweeper.system import metrics_file, saved_files
from sweeper.system.paths import TrialPaths
from sweeper.trial import worker
from sweeper.trial.exact_resume import checkpoint_files
from tests.attempts import attempt
from tests.cases.harness import copy_case
from tests.cases.kit.toy import digest
from tests.exact.cutting import Cut

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of Lightning about the small data
]

BEST = 2
BEST_HALF = 2 * BEST  # where each of two validations an epoch is a report
LAST = 5


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of `tests/cases/checkpoints`, whose modules leave this process again."""
    path, modules, folder = [*sys.path], {*sys.modules}, Path.cwd()
    yield copy_case("checkpoints", tmp_path_factory.mktemp("project"))
    os.chdir(folder)
    sys.path[:] = path
    for name in ("train", "toy"):
        if name not in modules:
            sys.modules.pop(name, None)


def spec(project: Path, folder: Path, style: str, *, epochs: int = LAST) -> TrialSpec:
    """Return the spec of one trial of the project."""
    return TrialSpec(
        id="trial",
        number=0,
        sweep="toy",
        target="train:main",
        config=str(project / "conf" / "config.yaml"),
        overrides=(f"style={style}", f"epochs={epochs}"),
        params={},
        seed=1,
        folder=str(folder / "trial"),
        project=str(project),
        metric="val/acc",
        mode="max",
        wandb={"mode": "none"},
    )


@dataclass
class Channel:
    """Takes reports and cuts the fit once, at the report of an epoch."""

    cut_at: int = 0
    stop_at: int = 0

    def ask(self, message: Message) -> Answer:
        assert isinstance(message, Report)
        if message.epoch == self.cut_at:
            raise Cut
        is_stop = message.epoch == self.stop_at
        return Answer(decision=Decision.STOP if is_stop else Decision.CONTINUE)


def run(trial: TrialSpec, *, cut_at: int = 0, stop_at: int = 0) -> TrialPaths:
    """Run one attempt in this process, cut or to its end."""
    os.environ["NO_CUT"] = "1"
    try:
        outcome = worker.run_trial(trial, Channel(cut_at, stop_at).ask)
        if cut_at:
            assert outcome.message.startswith("Cut "), outcome
        else:
            assert outcome.event == "finished", outcome
    finally:
        del os.environ["NO_CUT"]
        gc.collect()
    return TrialPaths(Path(trial.folder))


def handed(paths: TrialPaths) -> BestCheckpoint:
    """Return the checkpoint of a trial's folder."""
    rows = metrics_file.epochs(paths.metrics)
    best = metrics_file.best(paths.metrics, metric="val/acc", mode="max")
    values = {epoch: row["val/acc"] for epoch, row in rows.items()}
    found = best_checkpoint.choose(paths, best=best and best[0], values=values)
    assert found is not None
    return found


class Loaded(torch.nn.Module):
    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self._state = state

    def state_dict(self, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        return self._state


def assert_is_true(found: BestCheckpoint, paths: TrialPaths) -> None:
    """The file's weights are those that had the value in the epoch."""
    state = torch.load(found.path, map_location="cpu", weights_only=False)
    weights = digest(Loaded(state["state_dict"]))
    lines = (paths.folder / "weights.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    same = [row for row in rows if row["weights"] == weights]
    assert {row["epoch"] for row in same} == {found.epoch}, (found, rows)
    assert found.value in [pytest.approx(row["value"]) for row in same]


# The file that is right, by a pattern, and its epoch.
STYLES = {
    "template": ("checkpoints/epoch_epoch=001.ckpt", 2),
    "default": ("checkpoints/epoch=4-step=30.ckpt", 5),
    "every_epoch": ("checkpoints/epoch=1-step=12.ckpt", 2),
    "top_three": ("checkpoints/epoch=1-step=12.ckpt", 2),
    "slash": ("checkpoints/epoch=1-val/acc=0.900.ckpt", 2),
    "other_metric": ("checkpoints/resume/last.ckpt", 5),
    "two": ("checkpoints/acc/best.ckpt", 2),
    "two_in_one": ("checkpoints/best-v1.ckpt", 2),
    "last_only": ("checkpoints/last.ckpt", 5),
    "every_second": ("checkpoints/epoch=1-step=12.ckpt", 2),
    "link": ("checkpoints/epoch=1-step=12.ckpt", 2),
    "after_training": ("checkpoints/epoch=1-step=12.ckpt", 2),
    "after_validation": ("checkpoints/epoch=1-step=12.ckpt", 2),
    "weights_only": ("checkpoints/epoch=1-step=12.ckpt", 2),
    "steps": ("checkpoints/epoch=1-step=12.ckpt", 2),
    "half": ("checkpoints/epoch=1-step=12.ckpt", BEST_HALF),
    "none": ("checkpoints/resume/last.ckpt", 5),
    "logged": ("checkpoints/epoch=1-step=12.ckpt", 2),
    "end": ("final.ckpt", 5),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.few(4)
def test_a_cut_trial_hands_out_the_file_of_its_best_epoch(
    style: str, project: Path, tmp_path: Path
) -> None:
    name, epoch = STYLES[style]
    trial = spec(project, tmp_path, style)
    paths = run(trial, cut_at=4)
    assert_is_true(handed(paths), paths)  # it may never be started again
    run(trial)
    found = handed(paths)
    assert (str(found.path.relative_to(paths.folder)), found.epoch) == (name, epoch)
    assert bool(found.note) == (epoch != (BEST_HALF if style == "half" else BEST))
    assert_is_true(found, paths)
    uncut = run(replace(trial, folder=str(tmp_path / "uncut")))
    assert checkpoint_files.names(paths) == checkpoint_files.names(uncut)


@pytest.mark.parametrize("style", ["template", "slash", "two", "default"])
@pytest.mark.few(1)
def test_more_epochs_hand_out_the_new_best_one(
    style: str, project: Path, tmp_path: Path
) -> None:
    paths = run(spec(project, tmp_path, style))
    run(spec(project, tmp_path, style, epochs=7))
    found = handed(paths)
    assert (found.epoch, found.note) == (7, "")
    assert_is_true(found, paths)


def test_a_stopped_trial_hands_out_its_best_file(project: Path, tmp_path: Path) -> None:
    paths = run(spec(project, tmp_path, "two"), stop_at=3)
    assert_is_true(handed(paths), paths)
    assert handed(paths).epoch == BEST


def test_a_killed_process_leaves_the_same_as_one_that_was_not(
    project: Path, tmp_path: Path
) -> None:
    trial = spec(project, tmp_path, "slash")
    assert attempt(trial).returncode == -9
    paths = TrialPaths(Path(trial.folder))
    assert_is_true(handed(paths), paths)
    assert attempt(trial).returncode == 0
    assert handed(paths).path.name == "acc=0.900.ckpt"
    assert_is_true(handed(paths), paths)


def test_a_file_whose_write_was_cut_is_not_handed_out(
    project: Path, tmp_path: Path
) -> None:
    paths = run(spec(project, tmp_path, "template"))
    best = handed(paths)
    saved_files.begin(paths, best.path)
    assert handed(paths).path != best.path
    assert handed(paths).note


def test_a_file_that_is_gone_is_not_handed_out(project: Path, tmp_path: Path) -> None:
    paths = run(spec(project, tmp_path, "template"))
    handed(paths).path.unlink()
    found = handed(paths)
    assert found.epoch == LAST
    assert "no file of the best epoch 2" in found.note
    assert_is_true(found, paths)


@pytest.mark.parametrize("file", ["state.pt", "saved/model.pth", "checkpoints/a.ckpt"])
def test_a_loop_without_a_trainer_hands_out_its_newest_file(
    file: str, tmp_path: Path
) -> None:
    paths = TrialPaths(tmp_path)
    assert best_checkpoint.choose(paths, best=1, values={1: 0.5}) is None
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.touch()
    found = best_checkpoint.choose(paths, best=1, values={1: 0.5})
    assert found is not None
    assert (found.path, found.epoch, found.value) == (path, None, None)
    assert found.note

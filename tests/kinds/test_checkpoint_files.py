"""Files of two callbacks never collide, and those in subfolders count like others."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sweeper.journal import best_checkpoint, retention
from sweeper.journal.record import Sweep
from sweeper.system import saved_files
from sweeper.system.paths import TrialPaths
from sweeper.trial.exact_resume import checkpoint_files
from tests.cases.harness import run_case
from tests.cases.kit.toy import digest
from tests.helpers import make_sweep, make_trial
from tests.kinds.test_handed_out import Loaded


@pytest.mark.slow
@pytest.mark.e2e
def test_two_files_of_one_name_and_a_kill_hand_out_the_best_epochs(
    tmp_path: Path,
) -> None:
    sweep = run_case("C06", tmp_path)
    assert sweep.code == 0, sweep.output
    done = sweep.sweeper("best", "sweep", "--ckpt")
    state = torch.load(done.stdout.strip(), map_location="cpu", weights_only=False)
    best = json.loads(sweep.sweeper("best", "sweep", "--json").stdout)
    number = [trial["id"] for trial in sweep.trials()].index(best["id"])
    final = sweep.final(number)
    assert best["epoch"] == best["checkpoint_epoch"] == state["epoch"] + 1 == 2
    assert best["value"] == best["checkpoint_value"] == pytest.approx(0.9)
    assert digest(Loaded(state["state_dict"])) == final["digests"]["2"]
    assert final["acc"] == done.stdout.strip()
    assert "epoch 2, val/acc 0.9" in done.stderr
    assert f"checkpoint {done.stdout.strip()}" in sweep.output
    for name in ("report.html",):
        assert "epoch 2, val/acc 0.9" in (sweep.folder / name).read_text()


@pytest.mark.parametrize(
    ("outside", "inside"),
    [
        (["/a/out"], ["/t"]),
        (["/a/out", "/a/out"], ["/t", "/t"]),
        (["/a/loss", "/a/acc"], ["/t/loss", "/t/acc"]),
        (["/a/x/ckpt", "/a/y/ckpt"], ["/t/x/ckpt", "/t/y/ckpt"]),
        (["/a", "/a/acc"], ["/t", "/t/acc"]),
    ],
)
def test_folders_that_differ_outside_differ_inside(
    outside: list[str], inside: list[str]
) -> None:
    found = checkpoint_files.folders(map(Path, outside), Path("/t"))
    assert [str(found[Path(place)]) for place in outside] == inside


def _save(paths: TrialPaths, name: str, *, epoch: int) -> Path:
    path = paths.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    saved_files.begin(paths, path)
    path.write_bytes(b"weights")
    saved_files.end(paths, path, (epoch, epoch))
    saved_files.report(paths, epoch, (epoch, epoch))
    return path


def _sweep(folder: Path) -> Sweep:
    """Two trials with files in subfolders and of another suffix."""
    policy = {"keep_best": 1, "keep_last": "running"}
    trials = [make_trial(n, {"x": n}, value) for n, value in enumerate((0.5, 0.9))]
    sweep = make_sweep(folder, *trials, checkpoints=policy)
    for trial in sweep.trials:
        paths = sweep.paths.trial(trial.id)
        _save(paths, "checkpoints/epoch=1-val/acc=0.5.ckpt", epoch=1)
        _save(paths, "weights/a.ckpt", epoch=2)
        _save(paths, "weights/b.pt", epoch=3)
    return sweep


def test_keep_best_looks_into_every_folder(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path)
    worse, best = sweep.trials
    retention.tidy(sweep)
    assert saved_files.checkpoints(sweep.paths.trial(worse.id)) == []
    assert len(saved_files.checkpoints(sweep.paths.trial(best.id))) == 3
    assert best_checkpoint.find(sweep, worse) is None


def test_what_is_handed_out_stays_where_the_resume_files_go(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path)
    _, best = sweep.trials
    paths = sweep.paths.trial(best.id)
    epoch = best_checkpoint.best_epoch(best, sweep.experiment.objective)
    assert epoch is not None
    for file in saved_files.checkpoints(paths):
        file.unlink()
    _save(paths, "weights/late.ckpt", epoch=epoch + 1)
    last = _save(paths, "checkpoints/resume/last.ckpt", epoch=epoch)
    retention.tidy(sweep)
    found = best_checkpoint.find(sweep, best)
    assert found is not None
    assert (found.path, found.note) == (last, "")


def test_a_file_of_an_epoch_that_is_trained_again_is_removed(tmp_path: Path) -> None:
    paths = TrialPaths(tmp_path)
    kept = _save(paths, "checkpoints/epoch=0-val/acc=0.5.ckpt", epoch=1)
    known = checkpoint_files.names(paths)
    redone = [
        _save(paths, "checkpoints/epoch=1-val/acc=0.7.ckpt", epoch=2),
        _save(paths, "weights/epoch=1.pt", epoch=2),
    ]
    stranger = tmp_path / "weights" / "pretrained.ckpt"
    stranger.write_bytes(b"")
    paths.spec.write_text("")
    checkpoint_files.forget_redone(paths, known)
    assert kept.exists()
    assert stranger.exists()
    assert not any(path.exists() for path in redone)


def test_a_rotated_resume_file_keeps_its_epoch(tmp_path: Path) -> None:
    paths = TrialPaths(tmp_path)
    last, previous = paths.last, paths.resume / "previous.ckpt"
    for epoch in (1, 2, 3):
        saved_files.report(paths, epoch, (epoch, epoch))
        saved_files.begin(paths, last, previous)
        paths.resume.mkdir(parents=True, exist_ok=True)
        last.touch()
        previous.touch()
        saved_files.end_rotation(paths, last, (epoch, epoch), moved_to=previous)
    found = {file.path: file.epoch for file in saved_files.read(paths)}
    assert found == {previous: 2, last: 3}


def test_a_second_fit_at_the_same_step_is_another_epoch(tmp_path: Path) -> None:
    paths = TrialPaths(tmp_path)
    saved_files.begin_fit(paths)
    first = _save(paths, "a.ckpt", epoch=6)
    saved_files.begin_fit(paths)
    second = paths.folder / "b.ckpt"
    second.touch()
    saved_files.end(paths, second, (6, 6))
    saved_files.report(paths, 7, (6, 6))
    found = {file.path: file.epoch for file in saved_files.read(paths)}
    assert found == {first: 6, second: 7}


def test_a_trial_without_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, make_trial(0, {"x": 1}, 0.5))
    trial = replace(sweep.trials[0])
    assert best_checkpoint.find(sweep, trial) is None
    with pytest.raises(Exception, match="has no checkpoint"):
        best_checkpoint.require(sweep, trial)

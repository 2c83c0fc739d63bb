"""Files are replaced whole or not at all."""

import os
import signal
from pathlib import Path

import pytest

from sweeper.system.paths import (
    SweepPaths,
    atomic_write,
    project_root,
    remove_stale_temporaries,
    write_text,
)


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, write)
    assert path.read_text() == "old"


def test_a_kill_during_a_write_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        atomic_write(path, write)
    os.waitpid(child, 0)
    assert path.read_text() == "old"
    assert list(tmp_path.glob(".*.tmp"))  # the proof that the kill hit the write
    remove_stale_temporaries(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_project_is_the_nearest_folder_with_a_marker(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a" / "pyproject.toml").touch()
    (tmp_path / ".git").mkdir()
    assert project_root(inner / "x.yaml") == tmp_path / "a"


def test_every_file_of_a_trial_lies_in_its_folder(tmp_path: Path) -> None:
    trial = SweepPaths(tmp_path).trial("abc")
    names = (
        trial.config,
        trial.spec,
        trial.last,
        trial.best,
        trial.metrics,
        trial.log,
        trial.error,
        trial.artifacts,
    )
    assert all(trial.folder in path.parents for path in names)
    assert len(set(names)) == len(names)

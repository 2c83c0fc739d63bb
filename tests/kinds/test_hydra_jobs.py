"""A trial is the job that `python train.py OVERRIDES` is.

The oracle is Hydra itself, which runs the same project in a folder of its own.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.attempts import attempt
from tests.cases.harness import CASES
from tests.kinds.specs import spec_of

pytestmark = pytest.mark.slow

SECRET_TEXT = "value-0123456789"  # noqa: S105  # of no account
TARGETS = ("train:main", "python train.py")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(
        CASES / "jobs",
        tmp_path / "project",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return tmp_path / "project"


def read(folder: Path, name: str = "seen.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text())
    return found


@pytest.mark.parametrize("words", [["lr=0.2", "tag='a,b'"], ["lr=0.2", "tag=raise"]])
@pytest.mark.few(1)
def test_a_trial_sees_what_a_job_of_hydra_sees(project: Path, words: list[str]) -> None:
    alone = project / "alone"
    env = {**os.environ, "SOME_TOKEN": SECRET_TEXT}
    code = subprocess.run(
        [sys.executable, "train.py", *words, f"hydra.run.dir={alone}"],
        cwd=project,
        env=env,
        check=False,
        capture_output=True,
    ).returncode
    calls = (alone / "calls.txt").read_text()
    assert [line.split()[0] for line in calls.splitlines()] == [
        *("run", "job"),
        *("job", "run"),
    ]
    for number, target in enumerate(TARGETS):
        spec = spec_of(project, *words, target=target, number=number)
        done = attempt(spec, SOME_TOKEN=SECRET_TEXT)
        last = done.stdout.splitlines()[-1]
        assert last.startswith("failed" if code else "finished"), done.stderr
        folder = Path(spec.folder)
        assert read(folder) == read(alone)
        assert (folder / "calls.txt").read_text() == calls
        assert "at work" in (folder / "train.log").read_text()
        files = {path.name for path in (alone / "settings").iterdir()}
        assert {path.name for path in (folder / "settings").iterdir()} == files
        if target == TARGETS[0]:
            texts = [p.read_text() for p in (folder / "settings").iterdir()]
            assert not any(SECRET_TEXT in text for text in texts)


def test_names_are_each_trials_own_and_the_same_after_a_restart(project: Path) -> None:
    for target in TARGETS:
        seen = []
        for number in (3, 4, 3):
            spec = spec_of(project, f"lr=0.{number}", target=target, number=number)
            spec = replace(spec, folder=f"{spec.folder}{target[:5]}")
            done = attempt(spec, SOME_TOKEN=SECRET_TEXT)
            assert "finished" in done.stdout, done.stderr
            seen.append(read(Path(spec.folder), "own.json"))
            assert seen[-1]["job"].partition("/")[0] == str(number)
            assert Path(seen[-1]["sub"]).name == str(number)
            assert seen[-1]["out"] == spec.folder
            assert seen[-1]["name"] == f"train-lr=0.{number}"
        first, other, again = seen
        if target == TARGETS[1]:  # a program's own Hydra tells the time
            again["time"] = first["time"]
        assert first == again
        for key in ("job", "sub", "out", "name"):
            assert first[key] != other[key]
        assert Path(first["sub"]).parent == Path(other["sub"]).parent

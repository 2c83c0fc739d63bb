"""Runs a small project of tests/cases as its user would: in a copy of its folder.

A case is a folder with `train.py` (or another module), `conf/` and `exp.yaml`. The copy
gets `toy.py` from `kit/` and a `pyproject.toml`, and `sweeper run exp.yaml` runs there.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.harness import command

CASES = Path(__file__).parent
TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True)
class Sweep:
    """One `sweeper run` of a case, at its end.

    Attributes:
        code: exit code of `run`.
        output: standard output and standard error, in order.
        project: the copy of the case's folder.
        folder: the sweep's folder.
    """

    code: int
    output: str
    project: Path
    folder: Path

    def status(self) -> dict[str, Any]:
        """Return `status --json` of the sweep."""
        text = self.sweeper("status", self.folder.name, "--json").stdout
        data: dict[str, Any] = json.loads(text)
        return data

    def trials(self) -> list[dict[str, Any]]:
        """Return the trials of `status --json`, by number."""
        trials = self.status()["trials"]
        return sorted(trials, key=lambda trial: int(trial["number"]))

    def trial_folder(self, number: int = 0) -> Path:
        """Return the folder of a trial."""
        return self.folder / "trials" / str(self.trials()[number]["id"])

    def final(self, number: int = 0) -> dict[str, Any]:
        """Return what the trial wrote with `toy.note`."""
        data: dict[str, Any] = json.loads(
            (self.trial_folder(number) / "final.json").read_text()
        )
        return data

    def epochs(self, number: int = 0) -> list[int]:
        """Return the epochs in the trial's metrics file, in the order written."""
        lines = (self.trial_folder(number) / "metrics.jsonl").read_text().splitlines()
        return [int(json.loads(line)["epoch"]) for line in lines]

    def sweeper(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run another command of sweeper on this sweep, such as `best`."""
        return subprocess.run(
            command(*arguments, "--sweeps", self.folder.parent),
            cwd=self.project,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )


def copy_case(case: str, folder: Path) -> Path:
    """Copy a case into `folder` with the kit beside it; return the project's folder."""
    project = folder / case
    if not project.exists():
        shutil.copytree(
            CASES / case, project, ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copy(CASES / "kit" / "toy.py", project)
        (project / "pyproject.toml").write_text(f'[project]\nname = "{case}"\n')
    return project


def run_case(
    case: str,
    folder: Path,
    *overrides: str,
    name: str = "sweep",
    experiment: str = "exp.yaml",
    env: dict[str, str] | None = None,
) -> Sweep:
    """Run `sweeper run` on a copy of a case, to its end.

    Args:
        case: name of a folder in tests/cases.
        folder: where the copy is made; a second run with the same folder uses it again.
        overrides: `key=value` pairs and options of the command line.
        name: name of the sweep.
        experiment: the experiment file in the case's folder.
        env: environment variables added to those of this process.
    """
    project = copy_case(case, folder)
    sweeps = project / "sweeps"
    done = subprocess.run(
        command("run", experiment, f"name={name}", *overrides, "--sweeps", sweeps),
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
        env={**os.environ, **(env or {})},
    )
    return Sweep(
        code=done.returncode,
        output=done.stdout,
        project=project,
        folder=sweeps / name,
    )

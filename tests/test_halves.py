"""The driver's half of sweeper runs without torch and Lightning."""

import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.experiment.loading import dump
from sweeper.protocol import Report
from sweeper.system.paths import SweepPaths, write_text
from tests.helpers import make_experiment, open_journal

# Runs a command of sweeper; an import of what belongs to the trial's half fails.
DRIVER = """
import importlib.abc, sys

class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {
            "torch", "lightning", "pytorch_lightning", "torchvision", "torchmetrics"
        }:
            raise AssertionError(f"the driver imports {name}")

sys.meta_path.insert(0, Guard())
from sweeper import cli
sys.exit(cli.main(sys.argv[1:]))
"""
LOOP = """
import sweeper

def train(cfg):
    for epoch in (1, 2):
        sweeper.report(epoch, {"acc": cfg.x / 4})
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a finished sweep `toy` and an experiment file `loop.yaml`."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").touch()
    (folder / "loop.py").write_text(LOOP)
    (folder / "conf").mkdir()
    (folder / "conf" / "main.yaml").write_text("x: 1\n")
    (folder / "loop.yaml").write_text(
        "name: loop\ntarget: loop:train\nconfig: conf/main.yaml\nwandb: none\n"
        "search_space: {x: [1, 2]}\nobjective: {metric: acc, mode: max}\n"
    )
    journal = open_journal(folder)
    paths = SweepPaths(folder / "sweeps" / "toy")
    write_text(paths.experiment, dump(make_experiment(folder)))
    for value in (0.25, 0.75, 0.5):
        assert journal.claim("a") is not None
        journal.start("a")
        journal.report("a", Report(epoch=1, values=(value,)))
        journal.finish("a")
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "loop.yaml"],
        ["status", "toy"],
        ["status", "toy", "--json"],
        ["best", "toy"],
        ["report", "toy"],
        ["report", "toy", "--md"],
        ["export", "toy"],
        ["diff", "toy/0", "toy/1"],
        ["retry", "toy"],
        ["stop", "toy"],
        ["repair", "toy"],
        ["sync", "toy", "--dry-run"],
        ["sweeps"],
        ["schema"],
        ["init", "."],
        ["doctor"],
        ["run", "loop.yaml"],
    ],
    ids=" ".join,
)
def test_a_command_imports_neither_torch_nor_lightning(
    words: list[str], project: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *words, "--sweeps", "sweeps"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert "the driver imports" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 2), done.stderr

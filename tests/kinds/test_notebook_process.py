"""A process that trains stays usable: twice `train`, then `run`, in one notebook."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.system import wandb
from tests.cases.harness import copy_case

pytestmark = pytest.mark.slow

NOTEBOOK = """
import json, logging, os, signal, sys, warnings
from pathlib import Path
import torch, wandb
import sweeper
import sweeper.driver.training  # torch sets a variable when it is imported

def state():
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "handlers": [str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM)],
        "wandb": [str(wandb.init), str(wandb.log)],
        "threads": torch.get_num_threads(),
        "log": [str(h) for h in logging.root.handlers] + [logging.root.level],
    }

project, sweeps, mode = sys.argv[1:]
# a disabled run of the user's own stays open, as it does without sweeper
target = "train:silent" if mode == "none" else "train:named"
torch.set_num_threads(1)
before, states = state(), []
for rate in (0.1, 0.2):
    folder = sweeper.train(
        f"lr={rate}", config=f"{project}/conf/config.yaml", target=target,
        metric="cv", mode="min", wandb=mode, sweeps=sweeps,
    )
    states.append(state())
print(json.dumps([before, *states]))
"""


@pytest.mark.parametrize("mode", ["offline", "none"])
@pytest.mark.few(1)
def test_two_trainings_leave_the_process_as_it_was(tmp_path: Path, mode: str) -> None:
    project = copy_case("wandb_runs", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, str(project), str(tmp_path / "s"), mode],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    before, first, second = json.loads(done.stdout.splitlines()[-1])
    assert first == before
    assert second == before
    trained = sorted((tmp_path / "s" / "train").iterdir())
    assert len(trained) == 2
    for folder in trained if mode == "offline" else []:
        (fragment,) = wandb.fragments(folder)
        losses = [row["loss"] for row in fragment.rows if "loss" in row]
        rate = json.loads((folder / "spec.json").read_text())["params"]["lr"]
        assert losses == pytest.approx([float(rate) / epoch for epoch in (1, 2, 3)])


def test_an_interrupt_after_a_training_interrupts(tmp_path: Path) -> None:
    code = NOTEBOOK + (
        "\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "    signal.pause()\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    )
    project = copy_case("wandb_runs", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code, str(project), str(tmp_path / "s"), "none"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "interrupted", done.stdout + done.stderr

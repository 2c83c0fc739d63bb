"""A stop by any signal pauses the trials, and every wait of a driver ends on one."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import LOOP, Driver, driver, results, status

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

RATES = (0.1, 0.2)
EPOCHS = 4
FILE = f"""
name: loop
target: loop:train
config: conf/loop.yaml
project: {LOOP}
overrides: [epochs={EPOCHS}, sleep=0.5]
search_space: {{rate: [{", ".join(map(str, RATES))}]}}
objective: {{metric: acc, mode: max}}
resources: {{gpus: 0}}
retry: {{lost: 0}}
wandb: none
"""


def _to_group(running: Driver) -> None:
    """Do as `timeout` does: signal the command, then its whole process group."""
    os.kill(running.process.pid, signal.SIGTERM)
    os.killpg(running.process.pid, signal.SIGTERM)


def _to_everything(running: Driver) -> None:
    """Do as systemd and scancel do."""
    for pid in sorted(running.everything()):
        os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize(
    "stop",
    [_to_group, pytest.param(_to_everything, marks=pytest.mark.long)],
    ids=["group", "cgroup"],
)
def test_sigterm_pauses_the_trials_and_uses_up_no_retry(
    stop: Callable[[Driver], None], tmp_path: Path
) -> None:
    file = tmp_path / "loop.yaml"
    file.write_text(FILE)
    sweeps = tmp_path / "sweeps"
    run = (file, "--num-cpus", 2, "--sweeps", sweeps)
    with driver(*run, output=tmp_path / "out") as first:
        first.wait_for(" epoch ", count=2)
        stop(first)
        assert first.wait() == 130, first.output.read_text()
        said = first.output.read_text()
        first.assert_gone(within_seconds=60)
    assert "resume with" in said, said
    assert " lost" not in said, said
    trials = status("loop", sweeps)["trials"]
    assert {t["state"] for t in trials} <= {"waiting", "complete"}
    assert [f for t in trials for f in t["failures"]] == []
    with driver(*run, output=tmp_path / "again") as second:
        assert second.wait() == 0, second.output.read_text()
    totals = [
        round(values[str(EPOCHS)], 6) for values in results("loop", sweeps).values()
    ]
    assert sorted(totals) == [round(rate * EPOCHS, 6) for rate in RATES]


HANGS = """
import sys, time


def train(cfg):
    if "sweeper.trial.memory_trace" in sys.orig_argv:
        time.sleep(3600)
"""


@pytest.mark.long
def test_ctrl_c_ends_a_prediction_of_memory_and_leaves_nothing_of_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "toy.py").write_text(HANGS)
    (tmp_path / "toy.yaml").write_text("rate: 1\n")
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "target: toy:train\nconfig: toy.yaml\nsearch_space: {rate: [1, 2]}\n"
        "objective: {metric: acc, mode: max}\nwandb: none\npreflight: false\n"
    )
    run = (file, "--num-gpus", 1, "--card", "T4", "--sweeps", tmp_path / "sweeps")
    with driver(*run, output=tmp_path / "out", cwd=tmp_path) as running:
        running.wait_for("predicting the memory")
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.wait() == 130, running.tail()
        assert "resume with" in running.tail()
        assert "Traceback" not in running.tail()
        running.assert_gone(within_seconds=60)
    assert not list((tmp_path / "sweeps").rglob("memory.json"))


@pytest.mark.long
def test_ray_that_is_silent_for_longer_than_a_minute_ends_no_local_sweep(
    tmp_path: Path,
) -> None:
    file = tmp_path / "loop.yaml"
    file.write_text(FILE)
    run = (file, "--num-cpus", 2, "--sweeps", tmp_path / "sweeps")
    with driver(*run, output=tmp_path / "out") as running:
        running.wait_for(" epoch ")
        ray = [pid for pid, line in running.processes().items() if "gcs_server" in line]
        assert ray
        for pid in ray:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(75)  # by default Ray's raylet ends itself after 60
        for pid in ray:
            os.kill(pid, signal.SIGCONT)
        assert running.wait() == 0, running.tail()

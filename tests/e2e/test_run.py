"""Whole sweeps in processes of their own, cut in every place that a user can cut."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from sweeper.driver.signals import SAME_SECONDS
from sweeper.system import locks, orphans
from tests.e2e.crash_kinds import CUTS, GOES_ON, INTERRUPTED, LOST_RAY
from tests.e2e.harness import LOOP, ROOT, driver, status, sweeper

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

EXPERIMENT = """
name: loop
target: loop:train
config: conf/loop.yaml
project: {project}
overrides: [epochs={epochs}, sleep={sleep}, behaviour={behaviour}]
search_space: {{rate: [0.1, 0.2, 0.3, 0.4]}}
objective: {{metric: {metric}, mode: max}}
resources: {{gpus: {gpus}, cpus: {cpus}}}
wandb: none
"""


@pytest.fixture
def write(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Writes an experiment over the plain loop; its path."""

    def write_experiment(**keys: object) -> Path:
        values = {
            "project": LOOP,
            "epochs": 3,
            "sleep": 0.1,
            "behaviour": "train",
            "metric": "acc",
            "gpus": 0,
            "cpus": "auto",
            **keys,
        }
        path = tmp_path / "loop.yaml"
        path.write_text(EXPERIMENT.format(**values))
        return path

    return write_experiment


def _expected(epochs: int) -> dict[float, dict[str, float]]:
    """The sums that the loop reports when no epoch is lost or doubled."""
    expected = {}
    for rate in (0.1, 0.2, 0.3, 0.4):
        total = 0.0
        expected[rate] = {}
        for epoch in range(1, epochs + 1):
            total += rate
            expected[rate][str(epoch)] = total
    return expected


def _assert_whole(sweeps: Path, *, epochs: int) -> None:
    trials = status("loop", sweeps)["trials"]
    assert {t["params"]["rate"]: t["epochs"] for t in trials} == _expected(epochs)
    assert {t["state"] for t in trials} == {"complete"}
    assert not list(sweeps.rglob("*.tmp"))


def test_a_sweep_runs_to_its_end(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    sweeps = tmp_path / "sweeps"
    with driver(write(), "--sweeps", sweeps, output=tmp_path / "out") as first:
        assert first.wait() == 0, first.output.read_text()
        first.assert_gone()
    _assert_whole(sweeps, epochs=3)
    best = json.loads(sweeper("best", "loop", "--json", "--sweeps", sweeps).stdout)
    assert best["params"] == {"rate": 0.4}
    assert best["value"] == _expected(3)[0.4]["3"]
    locked = Path(tempfile.gettempdir()).glob(f"{orphans.PREFIX}*/{orphans.OWNER}")
    owners = [locks.holder(lock) for lock in locked]
    assert first.process.pid not in {owner.pid for owner in owners if owner}
    again = sweeper("run", write(), "--sweeps", sweeps)
    assert again.returncode == 0
    assert "running" not in again.stdout
    assert {t["starts"] for t in status("loop", sweeps)["trials"]} == {1}


def _cut(run: tuple[object, ...], name: str, *, epochs: int, output: Path) -> None:
    """Start a sweep and end its driver once its trials have reported so often."""
    with driver(*run, output=output) as cut:
        cut.wait_for(" epoch " if epochs else "sweep loop", count=epochs)
        assert CUTS[name].is_met(cut)
        code = cut.wait()
        assert code in CUTS[name].codes, (name, cut.tail())
        cut.assert_gone()
    assert ("the same command resumes the trials" in cut.tail()) is (code == LOST_RAY)
    assert (f"sweeper run {run[0]}" in cut.tail()) is (code == INTERRUPTED)
    assert "Traceback" not in cut.tail()


@pytest.mark.parametrize(
    "ends",
    [
        [("SIGKILL of the driver", 0), ("SIGINT", 1), ("SIGKILL of the journal", 2)],
        pytest.param(
            [
                ("SIGTERM", 2),
                ("SIGKILL of the raylet", 1),
                ("SIGKILL of the driver", 3),
            ],
            marks=pytest.mark.long,
        ),
    ],
    ids=["interrupted", "terminated"],
)
def test_whatever_ends_the_driver_leaves_nothing_and_the_same_command_goes_on(
    write,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    ends: list[tuple[str, int]],
) -> None:
    sweeps = tmp_path / "sweeps"
    run = (write(epochs=8, sleep=0.3), "--sweeps", sweeps)
    for number, (name, epochs) in enumerate(ends):
        _cut(run, name, epochs=epochs, output=tmp_path / f"out{number}")
        if name in ("SIGINT", "SIGTERM"):
            trials = status("loop", sweeps)["trials"]
            assert {t["state"] for t in trials} <= {"waiting", "complete"}
            assert {f["kind"] for t in trials for f in t["failures"]} == set()
    with driver(*run, output=tmp_path / "out") as last:
        assert last.wait() == 0, last.output.read_text()
    _assert_whole(sweeps, epochs=8)


# By default Ray takes a node for dead that is silent for a minute or two: here, for one
# second. A machine that was asleep or overloaded is silent as well.
IMPATIENT = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "100",
    "RAY_health_check_timeout_ms": "100",
}


def test_killed_parts_are_replaced_while_the_driver_goes_on(
    write,  # type: ignore[no-untyped-def]
    tmp_path: Path,
) -> None:
    sweeps = tmp_path / "sweeps"
    run = (write(epochs=8, sleep=0.3), "--sweeps", sweeps)
    env = {**os.environ, **IMPATIENT}
    with driver(*run, output=tmp_path / "out", env=env) as first:
        first.wait_for(" epoch ")
        (raylet,) = first.raylets()
        os.kill(raylet, signal.SIGSTOP)
        time.sleep(3)
        os.kill(raylet, signal.SIGCONT)
        for number, name in enumerate(GOES_ON, start=1):
            first.wait_for(" epoch ", count=5 * number)
            first.wait_for(" running", count=number)
            assert CUTS[name].is_met(first)
            first.wait_for(" lost: ", count=number)
        assert first.wait() == 0, first.output.read_text()
        first.assert_gone()
    _assert_whole(sweeps, epochs=8)


@pytest.mark.long
def test_what_python_reads_as_it_starts_may_stand_under_env(
    write,  # type: ignore[no-untyped-def]
    tmp_path: Path,
) -> None:
    path = write(epochs=1, behaviour="hash")
    path.write_text(path.read_text() + "env: {PYTHONHASHSEED: 7}\n")
    done = sweeper("run", path, "budget.trials=1", "--sweeps", tmp_path)
    (found,) = {f.read_text() for f in (tmp_path / "loop" / "trials").glob("*/hash")}
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", "print(hash('a'), end='')"]
    assert found == subprocess.check_output(command, text=True, env=env), done.stderr


def test_a_budget_that_is_reached_pauses_and_a_higher_one_goes_on(
    write,  # type: ignore[no-untyped-def]
    tmp_path: Path,
) -> None:
    sweeps = tmp_path / "sweeps"
    run = (write(epochs=3, sleep=0.3), "--num-cpus", 4, "--sweeps", sweeps)
    with driver(*run, "budget.target=0.3", output=tmp_path / "out") as first:
        assert first.wait() == 4, first.output.read_text()
        said = first.output.read_text()
        assert re.search(r"stopped \(budget: budget.target: .* of 0.3 reached\)", said)
        assert "budget.target=0.3" in said.rpartition("resume with: ")[2]
        first.assert_gone()
    trials = status("loop", sweeps)["trials"]
    assert {t["state"] for t in trials} <= {"waiting", "complete"}
    assert any(t["state"] == "waiting" for t in trials)
    with driver(*run, "budget.target=9", output=tmp_path / "out2") as second:
        assert second.wait() == 0, second.output.read_text()
    _assert_whole(sweeps, epochs=3)


def test_the_second_ctrl_c_stops_at_once(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    sweeps = tmp_path / "sweeps"
    run = (write(epochs=2, sleep=3600), "--sweeps", sweeps)
    with driver(*run, output=tmp_path / "out") as first:
        first.wait_for("running")
        first.kill(signal.SIGINT)
        first.wait_for("again to stop now")
        time.sleep(10 * SAME_SECONDS)  # two that are nearer may be one of `timeout`
        first.kill(signal.SIGINT)
        assert first.wait() == 130  # long before the epoch's end
        first.assert_gone(within_seconds=60)


def test_a_second_driver_is_told_who_drives(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    sweeps = tmp_path / "sweeps"
    run = (write(epochs=2, sleep=30), "--sweeps", sweeps)
    with driver(*run, output=tmp_path / "out") as first:
        first.wait_for("running")
        second = sweeper("run", *run)
        assert second.returncode == 5
        assert (
            f"process {first.process.pid} on {socket.gethostname()} " in second.stderr
        )
        assert re.search(r"since \d{4}-\d\d-\d\dT[\d:]+", second.stderr)
        assert "Traceback" not in second.stderr
        assert status("loop", sweeps)["state"] == "running"


@pytest.mark.parametrize(
    ("cards", "at_once"),
    [pytest.param(1, 2, marks=pytest.mark.long), (2, 4)],
)
def test_half_card_trials_share_each_card(
    write,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    cards: int,
    at_once: int,
) -> None:
    sweeps = tmp_path / "sweeps"
    behaviour = f"meet_{at_once}"
    file = write(gpus=0.5, cpus=0.25, sleep=0, epochs=1, behaviour=behaviour)
    run = (file, "--num-cpus", 4, "--num-gpus", cards, "--sweeps", sweeps)
    with driver(*run, output=tmp_path / "out") as first:
        assert first.wait() == 0, first.output.read_text()
    seen = [int(path.read_text()) for path in sweeps.rglob("seen")]
    assert len(seen) == 4
    assert max(seen) == at_once


@pytest.mark.parametrize(
    "behaviour", [pytest.param("raise", marks=pytest.mark.long), "segfault"]
)
def test_failed_trials_are_named_and_the_code_says_so(
    write,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    behaviour: str,
) -> None:
    sweeps = tmp_path / "sweeps"
    run = (write(behaviour=behaviour), "retry.lost=0", "--sweeps", sweeps)
    with driver(*run, output=tmp_path / "out") as first:
        assert first.wait() == 3, first.output.read_text()
    text = first.output.read_text()
    expected = {
        "raise": r"3 trials in a row failed alike.*ValueError: row \d+ is broken",
        "segfault": r"lost: the process ended without a result: killed by SIGSEGV",
    }
    assert re.search(expected[behaviour], text), text
    assert {t["state"] for t in status("loop", sweeps)["trials"]} == {"failed"}


def test_a_misspelt_metric_ends_the_sweep_with_the_logged_names(
    write,  # type: ignore[no-untyped-def]
    tmp_path: Path,
) -> None:
    done = sweeper("run", write(metric="ac"), "--sweeps", tmp_path / "sweeps")
    assert done.returncode == 2
    assert re.search(r"loop.yaml:\d+: .*'ac'.*'acc'", done.stderr), done.stderr
    assert "Traceback" not in done.stdout + done.stderr


DIGITS = """
project: {project}
config: conf/train.yaml
overrides: [model=small_cnn, data=digits, trainer=cpu, trainer.max_epochs={epochs}]
search_space: {{model.learning_rate: {rates}, data.batch_size: [128]}}
objective: {{metric: val/acc_top1, mode: max}}
resources: {{gpus: 0}}
wandb: none
"""


def _by_rate(name: str, sweeps: Path) -> dict[float, dict[str, float]]:
    """Objective by epoch of the trials that are not hidden, with all digits."""
    trials = status(name, sweeps)["trials"]
    return {t["params"]["model.learning_rate"]: t["epochs"] for t in trials}


@pytest.mark.long
def test_digits_end_the_same_after_a_kill_and_then_extend_from_checkpoints(
    tmp_path: Path,
) -> None:
    sweeps = tmp_path / "sweeps"

    def write(name: str, *, rates: list[float], epochs: int) -> tuple[object, ...]:
        file = tmp_path / f"{name}.yaml"
        file.write_text(DIGITS.format(project=ROOT, rates=rates, epochs=epochs))
        return (file, "--sweeps", sweeps)

    whole = write("whole", rates=[0.003, 0.001], epochs=3)
    with driver(*whole, output=tmp_path / "out") as first:
        assert first.wait() == 0, first.output.read_text()
    cut = write("cut", rates=[0.003, 0.001], epochs=3)
    with driver(*cut, output=tmp_path / "out2") as second:
        second.wait_for("epoch 2")
        second.kill()
        second.process.wait()
        second.assert_gone()
    with driver(*cut, output=tmp_path / "out3") as third:
        assert third.wait() == 0, third.output.read_text()
    before = _by_rate("cut", sweeps)
    assert before == _by_rate("whole", sweeps)

    # The file is edited: a value goes, one comes, and epochs come.
    write("cut", rates=[0.001, 0.01], epochs=6)
    folders = {path.name for path in (sweeps / "cut" / "trials").iterdir()}
    with driver(*cut, output=tmp_path / "out4") as fourth:
        assert fourth.wait() == 0, fourth.output.read_text()
    after = _by_rate("cut", sweeps)
    assert {rate: list(epochs) for rate, epochs in after.items()} == {
        0.001: list("123456"),
        0.01: list("123456"),
    }
    told = fourth.output.read_text()
    assert len(re.findall(r"\w epoch \d", told)) == 3 + 6, told  # only the new work
    assert after[0.001].items() > before[0.001].items()
    shown = status("cut", sweeps)
    (kept,) = folders & {trial["id"] for trial in shown["trials"]}
    assert set(shown["hidden"]) == folders - {kept}
    trial = sweeps / "cut" / "trials" / kept
    assert "Restored all states from the checkpoint" in (trial / "log.txt").read_text()
    assert folders < {path.name for path in trial.parent.iterdir()}  # none deleted

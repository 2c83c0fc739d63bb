"""A sweep is killed where it hurts most, and the same command ends it as if not.

`python -m tests.e2e.crash` does the same at random moments, for as long as one likes.
"""

from pathlib import Path

import pytest

from tests.e2e import crash
from tests.e2e.crash_kinds import DIGITS
from tests.e2e.harness import LOOP as LOOP_PROJECT
from tests.e2e.harness import driver, status, sweeper
from tests.test_disk import as_root, fill, mounted

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.mark.long
def test_killed_in_its_first_second_in_a_checkpoint_and_at_its_last_finish(
    tmp_path: Path,
) -> None:
    crashing = crash.Crash(tmp_path)
    sweeps = tmp_path / "cut"
    # "checkpoint" leaves half a file, as a disk may that lost power.
    for point in ("ray:1", "checkpoint:2", "last finish:1"):
        assert crashing.cut_at(DIGITS, sweeps, point=point)
    crashing.finish(DIGITS, sweeps)


LOOP = """
name: loop
target: loop:train
config: conf/loop.yaml
project: {project}
overrides: [epochs={epochs}, sleep=0.3]
search_space: {{rate: [0.1, 0.2, 0.3]}}
objective: {{metric: {metric}, mode: max}}
resources: {{gpus: 0}}
wandb: none
"""


@as_root
@pytest.mark.long
def test_a_full_disk_pauses_a_sweep_that_is_then_stopped_and_extended(
    tmp_path: Path,
) -> None:
    file = tmp_path / "loop.yaml"

    def write(**keys: object) -> None:
        values = {"project": LOOP_PROJECT, "epochs": 60, "metric": "acc", **keys}
        file.write_text(LOOP.format(**values))

    with mounted(tmp_path / "small", size=8 * 1024**2) as small:
        write()
        run = (file, "--sweeps", small)
        with driver(*run, output=tmp_path / "out") as first:
            first.wait_for("epoch 2")
            filler = fill(small)
            first.wait_for("Nothing is lost")
            assert first.process.poll() is None
            filler.unlink()
            first.wait_for("resuming")
            first.wait_for("epoch 9")
            assert sweeper("stop", "loop", "--sweeps", small).returncode == 0
            assert first.wait() == 130, first.output.read_text()
            first.assert_gone()
        trials = status("loop", small)["trials"]
        assert [f for t in trials for f in t["failures"]] == []

        write(epochs=4)
        refused = sweeper("run", *run)
        assert refused.returncode == 6, refused.stderr
        assert "overrides: - epochs=60" in refused.stderr
        assert "--fork NAME" in refused.stderr
        fork = ("run", *run, "--fork", "less")
        assert sweeper(*fork).returncode == 0
        write(epochs=6)
        assert sweeper(*fork).returncode == 0
        trials = status("less", small)["trials"]
        assert {trial["starts"] for trial in trials} == {2}
        assert {tuple(trial["epochs"]) for trial in trials} == {tuple("123456")}

"""Trials that run out of a logical card's memory, over a kill of the driver."""

from pathlib import Path

import pytest

from tests.e2e.harness import LOOP, driver, status

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

EXPERIMENT = """
name: loop
target: loop:train
config: conf/loop.yaml
project: {project}
overrides: [epochs=2, sleep=0.3, behaviour=need_1.0]
search_space: {{rate: [0.1, 0.2, 0.3]}}
objective: {{metric: acc, mode: max}}
resources: {{gpus: 0.25, cpus: 0.25}}
retry: {{oom: 0, lost: 0}}
wandb: none
"""


def test_the_ladder_is_climbed_over_a_kill_and_never_a_rung_too_many(
    tmp_path: Path,
) -> None:
    """A quarter and a half are too small; what runs beside a whole card's trial waits.

    No retry is allowed, and none is used up.
    """
    sweeps, file = tmp_path / "sweeps", tmp_path / "loop.yaml"
    file.write_text(EXPERIMENT.format(project=LOOP))
    run = (file, "--num-cpus", 4, "--num-gpus", 1, "--sweeps", sweeps)
    with driver(*run, output=tmp_path / "out") as first:
        first.wait_for("out of memory", count=3)
        first.kill()
        first.process.wait()
        first.assert_gone(within_seconds=20)
    with driver(*run, output=tmp_path / "out") as again:
        assert again.wait() == 0, again.output.read_text()
    trials = status("loop", sweeps)["trials"]
    assert {trial["state"] for trial in trials} == {"complete"}
    for trial in trials:
        kinds = [failure["kind"] for failure in trial["failures"]]
        assert kinds == ["oom", "oom"]
        shares = (sweeps / "loop" / "trials" / trial["id"] / "shares").read_text()
        seen = list(map(float, shares.split()))
        assert seen == sorted(seen)
        assert set(seen) == {0.25, 0.5, 1.0}

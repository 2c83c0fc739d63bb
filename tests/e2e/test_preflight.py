"""What every trial of a sweep would meet stops it before its first trial."""

import json
from pathlib import Path

import pytest

from sweeper.journal import store
from sweeper.system.paths import SweepPaths
from tests.e2e.harness import driver, status

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

TARGET = """
from pathlib import Path

import sweeper


def load(cfg):
    with Path("attempts").open("a") as file:
        file.write(f"{cfg.data.name}\\n")
    if not Path(cfg.data.name).exists():
        raise FileNotFoundError(f"no images in {cfg.data.name}")


def train(cfg):
    load(cfg)
    for epoch in (1, 2):
        if sweeper.report(epoch, {"acc": cfg.x}) is not sweeper.Decision.CONTINUE:
            return
"""


def test_data_that_is_missing_stops_the_sweep_before_a_trial_is_spent(
    tmp_path: Path,
) -> None:
    project = tmp_path / "project"
    (project / "conf" / "data").mkdir(parents=True)
    (project / "conf" / "main.yaml").write_text("defaults: [data: here]\nx: 0\n")
    for name in ("here", "there"):
        (project / "conf" / "data" / f"{name}.yaml").write_text(f"name: {name}\n")
    (project / "here").touch()
    (project / "fit.py").write_text(TARGET)
    path = tmp_path / "early.yaml"
    path.write_text(
        f"project: {project}\ntarget: fit:train\nconfig: conf/main.yaml\n"
        "search_space: {data: 'here, there', x: [1, 2, 3, 4, 5]}\n"
        "objective: {metric: acc}\nwandb: none\nresources: {gpus: 0}\n"
    )
    sweeps = tmp_path / "sweeps"
    run = (path, "--sweeps", sweeps, "--num-cpus", 2)
    paths = SweepPaths(sweeps / "early")
    with driver(*run, output=tmp_path / "out") as first:
        assert first.wait() == 2, first.output.read_text()
        first.assert_gone()
    told = first.output.read_text()
    assert "FileNotFoundError: no images in there" in told
    assert "met by one batch of: data=there" in told
    assert "fit.py" in paths.preflight_errors.read_text()
    assert not any(trial.attempts for trial in store.load_sweep(paths.folder).trials)
    assert not (paths.folder / "trials").exists()

    (project / "there").touch()
    with driver(*run, output=tmp_path / "out2") as second:
        assert second.wait() == 0, second.output.read_text()
    assert {t["state"] for t in status("early", sweeps)["trials"]} == {"complete"}
    assert len(json.loads(paths.preflight.read_text())["fine"]) == 2
    # Ten trials; two choices tried at first, of which the second was tried again.
    assert len((project / "attempts").read_text().splitlines()) == 2 + 1 + 10

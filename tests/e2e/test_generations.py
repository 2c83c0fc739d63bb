"""Children and promoted trials in processes of their own, cut and not."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.journal import store
from sweeper.journal.record import State, TrialRecord
from tests.e2e.harness import LOOP, driver, sweeper

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def _write(folder: Path, rates: list[float], scheduler: object, **keys: Any) -> Path:
    """An experiment over the plain loop, which adds its rate to a sum each epoch."""
    content = {
        "name": "loop",
        "target": "loop:train",
        "config": "conf/loop.yaml",
        "project": str(LOOP),
        "overrides": ["epochs=4", "sleep=0.1"],
        "search_space": {"rate": rates},
        "objective": {"metric": "acc", "mode": "max"},
        "resources": {"gpus": 0, "cpus": 1},
        "scheduler": scheduler,
        "wandb": "none",
        **keys,
    }
    path = folder / "loop.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def _trials(folder: Path) -> tuple[TrialRecord, ...]:
    return store.load_sweep(folder / "sweeps" / "loop").trials


def test_a_population_that_is_killed_has_the_lineage_of_a_whole_one(
    tmp_path: Path,
) -> None:
    pbt = {
        "_target_": "sweeper.search.pbt.Population",
        "population": 4,
        "interval": 2,
        "generations": 2,
        "resample": 0.0,
        "factors": [1.2],
    }
    path = _write(tmp_path, [0.1, 0.2, 0.3, 0.4, 0.5], pbt)
    run = (path, "--sweeps", tmp_path / "sweeps")
    with driver(*run, output=tmp_path / "out") as first:
        first.wait_for("epoch 3")  # of a child
        first.kill()
        first.process.wait()
        first.assert_gone()
    with driver(*run, output=tmp_path / "out2") as second:
        assert second.wait() == 0, second.output.read_text()
    trials = _trials(tmp_path)
    founders = {t.params["rate"]: t for t in trials if not t.lineage.parent}  # type: ignore[union-attr]
    assert set(founders) == {0.1, 0.2, 0.3, 0.4}
    children = {t.params["rate"]: t for t in trials if t.lineage.parent}  # type: ignore[union-attr]
    # The worst one has made room for a child of the best.
    assert set(children) == {0.2, 0.3, 0.4, 0.5}
    for rate, child in children.items():
        before = founders[0.4 if rate == 0.5 else rate]
        assert child.lineage is not None
        assert child.lineage.parent == before.id
        total = before.values[2]
        assert dict(child.values) == {3: total + rate, 4: total + rate + rate}
        assert child.state is before.state is State.COMPLETE
    shown = sweeper("status", "loop", "--sweeps", tmp_path / "sweeps").stdout
    assert founders[0.4].id in shown


def test_a_stopped_trial_is_promoted_and_goes_on_from_what_it_saved(
    tmp_path: Path,
) -> None:
    rates = [0.3, 0.2, 0.1, 0.05, 0.02, 0.01]
    path = _write(tmp_path, rates, "asha_promote")
    done = sweeper("run", path, "--sweeps", tmp_path / "sweeps")
    assert done.returncode == 0, done.stdout + done.stderr
    trials = {float(str(t.params["rate"])): t for t in _trials(tmp_path)}
    best = {0.3, 0.2}  # floor(6 / 3) of the first rung, none of two of the second
    assert {rate: len(t.values) for rate, t in trials.items()} == {
        rate: 3 if rate in best else 1 for rate in rates
    }
    for rate in best:
        total = 0.0
        for epoch in (1, 2, 3):
            total += rate
            assert trials[rate].values[epoch] == total
    assert trials[0.3].starts == 2

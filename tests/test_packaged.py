"""A project with a package in `src`: its configs, its imports, its warm start."""

import json
from pathlib import Path

import pytest

from sweeper.protocol import TrialSpec
from sweeper.trial.compose import Composer
from tests.attempts import attempt

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "tests" / "strangers" / "packaged"
CONFIG = "pkg://packaged.conf/main"
BATCHES = 4  # of an epoch


def _spec(folder: Path, *overrides: str) -> TrialSpec:
    return TrialSpec(
        id=folder.name,
        number=0,
        sweep="packaged",
        target="packaged.train:main",
        config=str(PROJECT / CONFIG),
        overrides=overrides,
        params={},
        seed=1,
        folder=str(folder),
        project=str(PROJECT),
        metric="valid_loss",
        mode="min",
        wandb={"mode": "none"},
    )


def _reported(folder: Path) -> list[tuple[int, float]]:
    """Epochs and batches that the network had seen, in the order of the reports."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [(row["epoch"], row["seen"]) for row in rows]


def test_configs_in_a_package_of_src_are_found() -> None:
    composer = Composer(PROJECT / CONFIG, PROJECT)
    assert composer.groups() == {"optim": ("adam", "sgd")}
    assert composer.compose(["optim=adam"]).optim.lr == 0.01


@pytest.mark.slow
def test_a_warm_start_is_respected_at_the_first_start_and_ours_wins_at_a_resume(
    tmp_path: Path,
) -> None:
    done = attempt(_spec(tmp_path / "before"))
    assert "finished" in done.stdout, done.stdout + done.stderr
    weights = tmp_path / "before" / "checkpoints" / "last.ckpt"
    assert weights.exists(), sorted((tmp_path / "before").rglob("*.ckpt"))
    assert _reported(tmp_path / "before") == [(1, BATCHES), (2, 2 * BATCHES)]

    cut = _spec(tmp_path / "cut", f"start_from={weights}", "epochs=5")
    assert attempt(cut, "--kill-at", "4").returncode == -9
    resumed = attempt(cut)
    assert "finished" in resumed.stdout, resumed.stdout + resumed.stderr
    # From the file's two epochs on; epoch 3 was not trained again.
    expected = [(epoch, epoch * BATCHES) for epoch in (3, 4, 4, 5)]
    assert _reported(tmp_path / "cut") == expected
    assert not (PROJECT / "weights").exists()

"""Cases C01, C03 and C05: killed or extended, each ends as a trial that was not."""

import json
from pathlib import Path
from typing import Any

import pytest

from sweeper.protocol import TrialSpec
from tests import attempts
from tests.cases.harness import copy_case, run_case

KILLED = -9
METRICS = {"C01": "cv/acc"}


def _spec(case: str, folder: Path, name: str, *overrides: str) -> TrialSpec:
    """Make the spec of one trial of a case."""
    project = copy_case(case, folder)
    return TrialSpec(
        id=name,
        number=0,
        sweep="cases",
        target="train:main",
        config=str(project / "conf" / "config.yaml"),
        overrides=overrides,
        params={},
        seed=1,
        folder=str(folder / name),
        project=str(project),
        metric=METRICS.get(case, "val/acc"),
        mode="max",
        wandb={"mode": "none"},
    )


def _facts(spec: TrialSpec) -> tuple[Any, dict[int, Any]]:
    """Return what a trial noted at its end and its metrics by epoch."""
    folder = Path(spec.folder)
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    epochs = {row["epoch"]: row for row in rows}
    return json.loads((folder / "final.json").read_text()), epochs


def _check(folder: Path, case: str, *overrides: str) -> tuple[Any, dict[int, Any]]:
    """Kill a trial once, resume it and compare it with one that is not killed."""
    whole = _spec(case, folder, "whole", *overrides)
    done = attempts.attempt(whole, NO_CUT="1")
    assert done.stdout.splitlines()[-1].strip() == "finished", done.stderr
    cut = _spec(case, folder, "cut", *overrides)
    assert attempts.attempt(cut).returncode == KILLED
    done = attempts.attempt(cut)
    assert done.stdout.splitlines()[-1].strip() == "finished", done.stderr
    assert _facts(cut) == _facts(whole)
    return _facts(cut)


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [(), ("is_seeded=false", "kill=[2,0,1]")])
@pytest.mark.few(1)
def test_a_killed_cross_validation_trains_each_fold_once(
    overrides: tuple[str, ...], tmp_path: Path
) -> None:
    final, epochs = _check(tmp_path, "C01", "kill=[1,1,1]", *overrides)
    assert [fold["steps"] for fold in final["folds"]] == [12, 12, 12]
    assert all(fold["is_trained"] for fold in final["folds"])
    assert list(epochs) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.slow
def test_a_thawed_backbone_stays_thawed_after_a_kill(tmp_path: Path) -> None:
    _, epochs = _check(tmp_path, "C03")
    assert [epochs[epoch]["trainable"] for epoch in (2, 3, 5, 6)] == [2, 4, 4, 4]


@pytest.mark.slow
@pytest.mark.parametrize("style", ["callback", "batch", "tuner"])
@pytest.mark.few(1)
def test_a_search_runs_once_and_a_killed_fit_resumes_after_it(
    style: str, tmp_path: Path
) -> None:
    _, epochs = _check(tmp_path, "C05", f"style={style}")
    assert list(epochs) == [1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "more"), [("C03", 8), ("C05", 6)])
@pytest.mark.few(1)
def test_more_epochs_need_no_kill_to_be_right(
    case: str, more: int, tmp_path: Path
) -> None:
    whole = _spec(case, tmp_path, "whole", f"epochs={more}")
    grown = _spec(case, tmp_path, "grown", f"epochs={more}")
    attempts.attempt(whole, NO_CUT="1")
    attempts.attempt(_spec(case, tmp_path, "grown"), NO_CUT="1")
    attempts.attempt(grown, NO_CUT="1")
    assert _facts(grown) == _facts(whole)


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.parametrize("case", ["C01", "C03", "C05"])
def test_a_sweep_of_the_case_ends_as_one_without_a_kill(
    case: str, tmp_path: Path
) -> None:
    cut = run_case(case, tmp_path, name="cut")
    whole = run_case(case, tmp_path, name="whole", env={"NO_CUT": "1"})
    assert cut.code == whole.code == 0, cut.output
    for number in range(2):
        assert cut.final(number) == whole.final(number)
        assert cut.epochs(number) == whole.epochs(number)

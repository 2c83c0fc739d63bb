"""Values of many kinds: per step, per validation, not finite, returned, missing."""

import json
import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.journal.record import State, StopReason
from sweeper.protocol import Report, TrialSpec
from sweeper.system import metrics_file
from tests.attempts import attempt
from tests.cases.harness import copy_case, run_case
from tests.helpers import open_journal

pytestmark = pytest.mark.slow


def make_spec(folder: Path, function: str, *overrides: str) -> TrialSpec:
    project = copy_case("values", folder)
    return TrialSpec(
        id="0123456789",
        number=0,
        sweep="values",
        target=f"train:{function}",
        config=str(project / "conf" / "config.yaml"),
        overrides=overrides,
        params={"lr": 0.1},
        seed=3,
        folder=str(folder / "trial"),
        project=str(project),
        metric="loss",
        mode="min",
        wandb={"mode": "none"},
    )


def values_of(spec: TrialSpec) -> dict[int, float]:
    rows = metrics_file.epochs(Path(spec.folder) / "metrics.jsonl")
    return {epoch: row["loss"] for epoch, row in rows.items() if "loss" in row}


def means_of_steps(spec: TrialSpec) -> dict[int, float]:
    """The oracle: the losses as the module itself wrote them, the last of each step."""
    losses: dict[int, dict[int, float]] = defaultdict(dict)
    for line in (Path(spec.folder) / "losses.jsonl").read_text().splitlines():
        epoch, batch, loss = json.loads(line)
        losses[epoch + 1][batch] = loss
    return {e: sum(rows.values()) / len(rows) for e, rows in losses.items()}


@pytest.mark.parametrize(
    ("kill_at", "every"), [("null", 0), ("9", 0), ("9", 1), ("12", 1)]
)
@pytest.mark.few(2)
def test_a_metric_that_is_logged_per_step_counts_as_its_mean_over_the_epoch(
    tmp_path: Path, kill_at: str, every: int
) -> None:
    spec = make_spec(tmp_path, "per_step", f"kill_at={kill_at}")
    spec = replace(spec, checkpoint_steps=every)
    if kill_at != "null":
        assert attempt(spec).returncode == -9
    done = attempt(spec)
    assert "finished" in done.stdout, done.stdout + done.stderr
    found, wanted = values_of(spec), means_of_steps(spec)
    assert sorted(found) == [1, 2, 3]
    assert found == pytest.approx(wanted, rel=1e-5)
    rows = metrics_file.epochs(Path(spec.folder) / "metrics.jsonl")
    for row in rows.values():  # Lightning's own mean, and one logged after the step
        assert row["both_epoch"] == pytest.approx(row["loss"], rel=1e-5)
        assert row["both_step"] == pytest.approx(row["loss"], rel=1e-5)
        assert row["late"] == pytest.approx(2.5)


def test_a_name_of_training_and_validation_has_the_validations_value(
    tmp_path: Path,
) -> None:
    spec = make_spec(tmp_path, "shared_name", "epochs=4")
    done = attempt(spec, "--kill-at", "3")
    assert done.returncode == -9, done.stderr
    done = attempt(spec)
    assert "finished" in done.stdout, done.stdout + done.stderr
    assert values_of(spec) == {2: 101.0, 4: 103.0}


def test_a_second_objective_that_is_missing_is_named(tmp_path: Path) -> None:
    spec = replace(make_spec(tmp_path, "per_step", "epochs=1"), more_metrics=("los",))
    done = attempt(spec)
    assert "fatal" in done.stdout, done.stdout + done.stderr
    assert "objective.metric: 'los'" in done.stdout


def test_a_pause_within_an_epoch_resumes_within_it(tmp_path: Path) -> None:
    spec = replace(make_spec(tmp_path, "quarters", "epochs=1"), checkpoint_steps=1)
    paused = attempt(spec, "--pause-at", "2")
    assert "paused" in paused.stdout, paused.stdout + paused.stderr
    assert sorted(values_of(spec)) == [1, 2]
    done = attempt(spec)
    assert "finished" in done.stdout, done.stdout + done.stderr
    assert values_of(spec) == pytest.approx(
        {i: abs(2 * i - 12) / 12 for i in range(1, 5)}
    )


@pytest.mark.parametrize(
    ("function", "named"),
    [
        ("other_names", "val/acc"),
        ("no_validation", "train/loss"),
        ("nothing", "reported nothing"),
        ("exits", "reported nothing"),
    ],
)
def test_a_trial_without_a_value_says_what_it_logged(
    tmp_path: Path, function: str, named: str
) -> None:
    spec = make_spec(tmp_path, function, "epochs=1")
    done = attempt(spec)
    assert "fatal" in done.stdout, done.stdout + done.stderr
    assert "objective.metric: 'loss'" in done.stdout
    assert named in done.stdout
    assert "never finite" not in done.stdout


@pytest.mark.parametrize(
    ("function", "is_shown"),
    [("other_names", True), ("no_validation", False), ("nothing", False)],
)
def test_one_batch_refuses_only_what_a_validation_shows(
    tmp_path: Path, function: str, is_shown: bool
) -> None:
    spec = replace(make_spec(tmp_path, function, "epochs=1"), max_batches=1)
    done = attempt(spec, "--stop-at", "1")
    assert ("fatal" in done.stdout) is is_shown, done.stdout + done.stderr


@pytest.mark.parametrize("function", ["endless", "quarters"])
def test_each_validation_within_an_epoch_is_a_report(
    tmp_path: Path, function: str
) -> None:
    spec = make_spec(tmp_path, function, "epochs=1")
    done = attempt(spec)
    assert "finished" in done.stdout, done.stdout + done.stderr
    steps = [4, 8, 12, 16, 20] if function == "endless" else [2, 4, 6, 8]
    wanted = {i: abs(step - 12) / 12 for i, step in enumerate(steps, 1)}
    assert values_of(spec) == pytest.approx(wanted)


def test_validations_keep_their_numbers_over_a_kill_and_an_extension(
    tmp_path: Path,
) -> None:
    spec = make_spec(tmp_path, "quarters", "epochs=2", "kill_at=13")
    assert attempt(spec).returncode == -9
    for epochs, count in ((2, 8), (3, 12)):
        now = replace(spec, overrides=(f"epochs={epochs}", "kill_at=13"))
        done = attempt(now)
        assert "finished" in done.stdout, done.stdout + done.stderr
        wanted = {i: abs(2 * i - 12) / 12 for i in range(1, count + 1)}
        assert values_of(spec) == pytest.approx(wanted)


@pytest.mark.parametrize("kind", ["float", "tensor", "numpy", "mapping"])
def test_the_value_that_a_target_returns_counts_where_nothing_was_reported(
    tmp_path: Path, kind: str
) -> None:
    spec = make_spec(tmp_path, "returns", f"kind={kind}")
    done = attempt(spec)
    assert "finished" in done.stdout, done.stdout + done.stderr
    assert values_of(spec) == pytest.approx({1: 0.1})


@pytest.mark.parametrize("kind", ["text", "two"])
def test_another_returned_value_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    done = attempt(make_spec(tmp_path, "returns", f"kind={kind}"))
    assert "fatal" in done.stdout, done.stdout + done.stderr
    assert "returned" in done.stdout


@pytest.mark.parametrize("mode", ["max", "min"])
def test_epochs_that_are_not_finite_do_not_count(tmp_path: Path, mode: str) -> None:
    journal = open_journal(
        tmp_path,
        search_space={"x": [1, 2, 3]},
        objective={"metric": "acc", "mode": mode},
    )
    series = [
        [math.inf, 0.5, 0.4],
        [0.45, -math.inf, 0.45],
        [math.inf, math.nan, -math.inf],
    ]
    states = []
    for values in series:
        assert journal.claim("a") is not None
        journal.start("a")
        for epoch, value in enumerate(values, 1):
            journal.report("a", Report(epoch=epoch, values=(value,), busy_seconds=1))
        states.append(journal.finish("a"))
    assert states == [State.COMPLETE, State.COMPLETE, State.FAILED]


def test_the_first_trial_without_a_value_ends_the_sweep_but_not_a_later_one(
    tmp_path: Path,
) -> None:
    journal = open_journal(tmp_path)
    journal.claim("a")
    journal.start("a")
    journal.abort("a", "objective.metric: 'acc' is not logged by the trial")
    assert journal.stopped_by().reason is StopReason.ERROR

    (tmp_path / "other").mkdir()
    other = open_journal(tmp_path / "other")
    other.claim("a")
    other.start("a")
    other.report("a", Report(epoch=1, values=(0.5,), busy_seconds=1))
    other.finish("a")
    other.claim("a")
    other.start("a")
    other.abort("a", "objective.metric: 'acc' is not logged by the trial")
    assert other.stopped_by().reason is StopReason.NONE


@pytest.mark.e2e
def test_a_sweep_over_inf_and_nan_ranks_by_the_finite_epochs(tmp_path: Path) -> None:
    sweep = run_case(
        "values",
        tmp_path,
        "target=train:series",
        "search_space={kind: [finite, inf_first, minus_inf, nan_first, all_inf]}",
    )
    assert sweep.code == 3, sweep.output
    found = {t["params"]["kind"]: t for t in sweep.trials()}
    assert found["all_inf"]["state"] == "failed"
    assert {k: t["state"] for k, t in found.items() if k != "all_inf"} == dict.fromkeys(
        ("finite", "inf_first", "minus_inf", "nan_first"), "complete"
    )
    lines = [line for line in sweep.output.splitlines() if "epoch 1 loss nan" in line]
    assert len(lines) == len(set(lines)) == 3

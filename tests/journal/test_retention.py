"""Losers' checkpoints go by policy, and never what a trial goes on from."""

from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.journal import retention
from sweeper.journal.record import State, Sweep, TrialRecord
from sweeper.protocol import Lineage
from sweeper.system import locks
from sweeper.system.errors import ExperimentError
from tests.helpers import make_experiment

MB = 10**6
VALUES = {"best": 0.9, "good": 0.8, "fair": 0.7, "poor": 0.1}


def _sweep(folder: Path, **keys: object) -> Sweep:
    """Four finished trials, one that failed and one that waits; 1 MB a checkpoint."""
    trials = [
        TrialRecord(
            number=number,
            id=name,
            params={"x": number},
            seed=42,
            state=State.COMPLETE if name != "fair" else State.PRUNED,
            values={1: value},
        )
        for number, (name, value) in enumerate(VALUES.items())
    ]
    for name, state in {"failed": State.FAILED, "paused": State.WAITING}.items():
        trials.append(
            TrialRecord(
                number=len(trials),
                id=name,
                params={"x": len(trials)},
                seed=42,
                state=state,
                values={1: 0.95},
            )
        )
    sweep = Sweep(
        experiment=make_experiment(folder, **keys),
        trials=tuple(trials),
        folder=folder / "sweeps" / "toy",
    )
    for trial in trials:
        paths = sweep.paths.trial(trial.id)
        paths.resume.mkdir(parents=True)
        for path in (paths.last, paths.best):
            path.write_bytes(b"\0" * MB)
    return sweep


def _left(sweep: Sweep) -> set[str]:
    found = (f.path.relative_to(sweep.paths.trials) for f in retention.find(sweep))
    return {str(path).replace("checkpoints/", "") for path in found}


ALL = {
    f"{name}/{file}"
    for name in (*VALUES, "failed", "paused")
    for file in ("resume/last.ckpt", "best.ckpt")
}
PBT = {
    "_target_": "sweeper.search.pbt.Population",
    "population": 2,
    "interval": 1,
    "generations": 3,
}


def _of_generation(
    trial: TrialRecord, number: int, parent: str, state: State
) -> TrialRecord:
    place = Lineage(parent=parent, generation=number, member=0, start=0, until=1)
    return replace(trial, lineage=place, state=state)


@pytest.mark.parametrize(
    ("newest", "parent", "kept"),
    [
        (State.RUNNING, "good", {"good", "fair"}),  # and its own
        (State.COMPLETE, "good", {"fair"}),  # more generations may follow
    ],
)
def test_a_parents_checkpoint_stays_as_long_as_a_child_may_need_it(
    tmp_path: Path, newest: State, parent: str, kept: set[str]
) -> None:
    policy = {"keep_best": 1, "keep_last": "running"}
    sweep = _sweep(tmp_path, checkpoints=policy, scheduler=PBT)
    best, good, fair, poor, *_ = sweep.trials
    done = State.COMPLETE
    trials = (
        _of_generation(best, 0, "", done),
        _of_generation(good, 0, "", done),
        _of_generation(fair, 1, "best", done),
        _of_generation(poor, 1, parent, newest),
    )
    sweep = replace(sweep, trials=trials)
    retention.tidy(sweep)
    left = {name.partition("/")[0] for name in _left(sweep) if "resume" in name}
    assert left == {*kept, "poor"}
    # Not even where the disk is full.
    full = replace(
        sweep, experiment=make_experiment(tmp_path, disk="1MB", scheduler=PBT)
    )
    assert "disk: the sweep takes" in retention.tidy(full)
    left = {name.partition("/")[0] for name in _left(full) if "resume" in name}
    assert left >= kept


def test_what_may_be_promoted_keeps_its_checkpoint(tmp_path: Path) -> None:
    policy = {"keep_best": 1, "keep_last": "running"}
    sweep = _sweep(tmp_path, checkpoints=policy, scheduler="asha_promote")
    retention.tidy(sweep)
    left = {name for name in _left(sweep) if "resume" in name}
    assert left == {f"{n}/resume/last.ckpt" for n in ("fair", "failed", "paused")}


def test_without_a_policy_every_checkpoint_stays(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path)
    assert retention.tidy(sweep) == ""
    assert _left(sweep) == ALL


@pytest.mark.parametrize(
    ("policy", "gone"),
    [
        (
            {"keep_best": 2, "keep_last": "running"},
            {
                *(f"{name}/resume/last.ckpt" for name in VALUES),
                *("fair/best.ckpt", "poor/best.ckpt"),
            },
        ),
        ({"keep_best": 3}, {"poor/best.ckpt"}),
        (
            {"keep_last": "running"},
            {f"{name}/resume/last.ckpt" for name in VALUES},
        ),
    ],
)
def test_what_lost_goes_and_what_goes_on_stays(
    policy: dict[str, object], gone: set[str], tmp_path: Path
) -> None:
    sweep = _sweep(tmp_path, checkpoints=policy)
    retention.tidy(sweep)
    assert _left(sweep) == ALL - gone


def test_a_winner_without_a_file_of_its_own_keeps_its_last_one(tmp_path: Path) -> None:
    policy = {"keep_best": 1, "keep_last": "running"}
    sweep = _sweep(tmp_path, checkpoints=policy)
    sweep.paths.trial("best").best.unlink()
    retention.tidy(sweep)
    assert sweep.paths.trial("best").last.exists()


def test_over_the_disk_limit_the_worst_give_first(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path, disk="9.5MB")
    assert retention.tidy(sweep) == ""
    assert ALL - _left(sweep) == {
        *("poor/resume/last.ckpt", "poor/best.ckpt", "fair/resume/last.ckpt")
    }


def test_what_runs_or_is_best_stays_even_over_the_limit(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path, disk="1MB")
    message = retention.tidy(sweep)
    assert message.startswith("disk: the sweep takes 0.004 GB of 0.001 GB")
    assert _left(sweep) == {
        f"{name}/{file}"
        for name in ("best", "paused")
        for file in ("resume/last.ckpt", "best.ckpt")
    }


def test_a_trial_that_a_process_holds_is_left_alone(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path, checkpoints={"keep_best": 1, "keep_last": "running"})
    with locks.hold(sweep.paths.trial("poor").lock):
        retention.tidy(sweep)
    assert sweep.paths.trial("poor").last.exists()


def test_stale_temporaries_go_at_start_but_not_those_of_a_running_trial(
    tmp_path: Path,
) -> None:
    sweep = _sweep(tmp_path)
    stale = [
        sweep.paths.trial(name).resume / ".last.ckpt.123.tmp"
        for name in ("poor", "paused")
    ]
    for path in stale:
        path.touch()
    with locks.hold(sweep.paths.trial("paused").lock):
        retention.remove_temporaries(sweep)
    assert [path.exists() for path in stale] == [False, True]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"disk": "50 gigs"},
            "disk: '50 gigs': must be a number of bytes, or one with",
        ),
        ({"disk": 0}, "disk: 0: Input should be greater than"),
        (
            {"checkpoints": {"keep_best": 0}},
            "checkpoints.keep_best: 0: Input should be",
        ),
        (
            {"checkpoints": {"keep_last": "some"}},
            "checkpoints.keep_last: 'some': Input",
        ),
        (
            {"checkpoint": {"every_steps": 0}},
            "checkpoint.every_steps: 0: Input should be",
        ),
        (
            {"checkpoint": {"every_minutes": -1}},
            "checkpoint.every_minutes: -1: Input should be",
        ),
    ],
)
def test_a_wrong_setting_is_told_with_its_line(
    keys: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ExperimentError) as caught:
        make_experiment(tmp_path, **keys)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [("50GB", 50 * 10**9), ("1.5 TB", 1_500 * 10**9), ("512MiB", 2**29), (7, 7)],
)
def test_a_size_is_read_with_its_unit(
    text: object, num_bytes: int, tmp_path: Path
) -> None:
    assert make_experiment(tmp_path, disk=text).disk == num_bytes

"""Promotion of stopped trials against the algorithm of the ASHA paper, written here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sweeper.journal.record import State
from sweeper.protocol import Decision, Report
from sweeper.search import algorithms
from sweeper.system.errors import ExperimentError
from tests.helpers import make_experiment, open_journal

EPOCHS = 10
RUNGS = (1, 3, 9)  # then to the end
Curve = Callable[[int, int], float]  # of (trial, epoch)


def _curve(seed: int) -> Curve:
    noise = np.random.default_rng(seed).normal(size=(40, EPOCHS + 1))

    def value(trial: int, epoch: int) -> float:
        return float(np.sin(trial) * (1 - 0.5**epoch) + 0.1 * noise[trial, epoch])

    return value


def _paper(curve: Curve, *, trials: int, eta: int = 3) -> list[tuple[int, int]]:
    """Algorithm 2 of Li et al. (2020) with one worker: the jobs, as (trial, epoch)."""
    rungs: list[dict[int, float]] = [{} for _ in RUNGS]
    promoted: list[set[int]] = [set() for _ in RUNGS]
    jobs = []
    started = 0

    def get_job() -> tuple[int, int] | None:
        nonlocal started
        for k in reversed(range(len(RUNGS))):
            ranked = sorted(rungs[k], key=lambda t: -rungs[k][t])
            for trial in ranked[: len(rungs[k]) // eta]:
                if trial not in promoted[k]:
                    promoted[k].add(trial)
                    return trial, k + 1
        if started == trials:
            return None
        started += 1
        return started - 1, 0

    while (job := get_job()) is not None:
        trial, k = job
        epoch = RUNGS[k] if k < len(RUNGS) else EPOCHS
        if k < len(RUNGS):
            rungs[k][trial] = curve(trial, epoch)
        jobs.append((trial, epoch))
    return jobs


def _run(
    folder: Path, curve: Curve, *, trials: int, slots: int = 1, is_cut: bool = False
) -> tuple[list[tuple[int, int]], dict[int, State], dict[int, int]]:
    """The same through the journal: jobs, states, and starts by trial."""
    keys = {
        "search_space": {"x": list(range(trials))},
        "scheduler": "asha_promote",
    }
    journal = open_journal(folder, **keys)
    saved: dict[str, int] = {}
    starts: dict[int, int] = {}
    jobs, states = [], {}
    while True:
        claimed = [str(s) for s in range(slots) if journal.claim(str(s)) is not None]
        if not claimed:
            return jobs, states, starts
        for slot in claimed:
            spec = journal.start(slot)
            trial, epoch = int(str(spec.params["x"])), saved.get(spec.id, 0)
            assert not spec.is_stopped
            starts[trial] = starts.get(trial, 0) + 1
            decision = Decision.CONTINUE
            while decision is Decision.CONTINUE and epoch < EPOCHS:
                epoch += 1
                report = Report(
                    epoch=epoch,
                    values=(curve(trial, epoch),),
                    metrics={},
                    busy_seconds=1.0,
                )
                decision = journal.report(slot, report)
                saved[spec.id] = epoch
                if epoch in (*RUNGS, EPOCHS):
                    jobs.append((trial, epoch))
            states[trial] = journal.finish(slot)
        if is_cut:
            journal = open_journal(folder, **keys)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("is_cut", [False, True])
def test_promotion_is_that_of_the_paper(
    tmp_path: Path, seed: int, is_cut: bool
) -> None:
    curve = _curve(seed)
    expected = _paper(curve, trials=20)
    jobs, states, starts = _run(tmp_path, curve, trials=20, is_cut=is_cut)
    assert jobs == expected
    assert max(starts.values()) > 1  # a stopped trial went on
    whole = {trial for trial, epoch in expected if epoch == EPOCHS}
    assert {t for t, state in states.items() if state is State.COMPLETE} == whole


@pytest.mark.parametrize("slots", [3, 7])
def test_no_trial_of_the_best_third_is_left_behind(tmp_path: Path, slots: int) -> None:
    curve = _curve(slots)
    jobs, _, _ = _run(tmp_path, curve, trials=20, slots=slots)
    assert len(jobs) == len(set(jobs))
    for rung, after in zip(RUNGS, (*RUNGS[1:], EPOCHS), strict=True):
        reached = sorted(
            (t for t, epoch in jobs if epoch == rung), key=lambda t: -curve(t, rung)
        )
        went_on = {t for t, epoch in jobs if epoch == after}
        assert went_on >= set(reached[: len(reached) // 3])


def test_a_trial_of_nan_is_never_promoted(tmp_path: Path) -> None:
    jobs, _, _ = _run(tmp_path, lambda trial, epoch: float("nan"), trials=7)
    assert jobs == [(trial, 1) for trial in range(7)]


def test_promotion_has_no_bootstrap(tmp_path: Path) -> None:
    asha = {
        "_target_": "sweeper.search.schedulers.Asha",
        "promote": True,
        "bootstrap_count": 2,
    }
    with pytest.raises(ExperimentError, match="bootstrap_count: must be 0"):
        algorithms.scheduler(make_experiment(tmp_path, scheduler=asha))

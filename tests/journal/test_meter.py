"""A budget that is metered row by row is that of a look at all rows."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.experiment import space
from sweeper.experiment.definition import Budget, Objective
from sweeper.journal.budget import Meter
from sweeper.journal.journal import Journal
from sweeper.journal.record import Failure, State, TrialRecord
from sweeper.journal.study import again
from sweeper.protocol import Decision, FailureKind, Report
from tests.helpers import HALF, IN_FOLDERS, make_experiment

KINDS = ("claim", "claim", "report", "finish", "finish", "fail", "again", "restart")
STEP = st.tuples(st.sampled_from(KINDS), st.sampled_from([0.1, 0.25, 0.3, 0.7]))
PRICE = {"T4": 0.35, "L4": 0.7}
BUDGETS: Mapping[str, Sequence[float]] = {
    "gpu_hours": (0.05, 0.2, 1.0),
    "cost": (0.01, 0.1, 0.4),
    "target": (0.1, 0.3, 0.7),
    "patience": (1, 2, 3, 4, 5),
}
OOM = Failure(kind=FailureKind.OOM, message="oom")


def _reached(budget: Budget, objective: Objective, rows: Sequence[TrialRecord]) -> str:
    """The definition: a look at every row."""
    sign = -objective.loss(1.0)
    used = {
        "gpu_hours": math.fsum(sum(row.card_seconds.values()) for row in rows) / 3600,
        "cost": math.fsum(
            seconds / 3600 * PRICE.get(card, 0.0)
            for row in rows
            for card, seconds in row.card_seconds.items()
        ),
    }
    for name, amount in used.items():
        limit = getattr(budget, name)
        if limit is not None and amount >= limit:
            return f"budget.{name}: {amount:.3g} of {limit:g} used"
    if budget.target is not None:
        for row in rows:
            for value in row.values.values():
                if sign * value >= sign * budget.target:
                    return f"budget.target: {value:.6g} of {budget.target:g} reached"
    best, since = -math.inf, 0
    ended = [r for r in rows if r.state in (State.COMPLETE, State.PRUNED)]
    for row in sorted(ended, key=lambda r: (r.ended_at, r.number)):
        value = sign * row.result[0]
        since = 0 if value > best else since + 1
        best = max(best, value)
    if budget.patience is not None and since >= budget.patience:
        return f"budget.patience: {since} trials without a better one"
    return ""


class _Random:
    """A sweep without limits that takes steps, on half cards of two types."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.experiment = make_experiment(
            folder,
            search_space={"x": list(range(99))},
            objective={"metric": "acc", "mode": mode},
            retry={"oom": 1},
        )
        self._folder = folder / "sweeps" / "toy"
        self._num_claims = 0
        self._slots: dict[str, int] = {}  # epochs that each has reported
        self.restart()

    def restart(self) -> None:
        self._slots.clear()
        parsed = space.parse(self.experiment, {})
        self.journal = Journal(self.experiment, parsed, self._folder, HALF)

    def step(self, kind: str, number: float) -> None:
        if kind == "restart":
            self.restart()
        elif kind == "claim":
            self._num_claims += 1
            slot = f"{self._num_claims}"
            if self.journal.claim(slot) is not None:
                self.journal.start(slot, card="L4" if number > 0.2 else "T4")
                self._slots[slot] = 0
        elif kind == "again":
            ended = [r for r in self.journal._store.all() if r.state.is_final]
            if ended:
                self.journal._store.add(again(ended[int(number * len(ended))]))
        elif self._slots:
            slot = next(iter(self._slots))
            if kind == "fail":
                self.journal.fail(slot, OOM)
            elif kind == "finish" and self._slots[slot]:
                self.journal.finish(slot)
            else:
                self._slots[slot] += 1
                seconds = 1000.1 * number * self._slots[slot]
                report = Report(
                    epoch=self._slots[slot], values=(number,), busy_seconds=seconds
                )
                assert self.journal.report(slot, report) is Decision.CONTINUE
                return
            del self._slots[slot]


@pytest.mark.parametrize("mode", ["max", "min"])
@given(steps=st.lists(STEP, min_size=30, max_size=60), every=st.integers(1, 4))
@settings(IN_FOLDERS, max_examples=25)
def test_row_by_row_is_as_all_at_once(
    tmp_path_factory: pytest.TempPathFactory,
    mode: str,
    steps: list[tuple[str, float]],
    every: int,
) -> None:
    sweep = _Random(tmp_path_factory.mktemp("sweep"), mode)
    budgets = [Budget(**{n: limit}) for n in BUDGETS for limit in BUDGETS[n]]
    objective = sweep.experiment.objective
    for number, (kind, value) in enumerate(steps):
        sweep.step(kind, value)
        rows = sweep.journal._store
        if number == 0 or kind == "restart":
            follow = rows.follow()
            meters = [Meter(b, objective=objective, price=PRICE) for b in budgets]
        elif number % every:
            continue
        changed = follow()
        for budget, meter in zip(budgets, meters, strict=True):
            meter.update(changed)
            expected = _reached(budget, objective, rows.all())
            assert meter.reached(wall_seconds=0.0) == expected

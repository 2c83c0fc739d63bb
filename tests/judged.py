"""Trials that a scheduler judges without a journal."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sweeper.experiment.definition import Experiment
from sweeper.journal.record import State, TrialRecord
from sweeper.protocol import Decision
from sweeper.search import algorithms
from sweeper.search.schedulers import Scheduler
from tests.helpers import make_experiment


class Judged:
    """Records of trials, and the decisions of one scheduler over them.

    Args:
        scheduler: of `experiment`, or another one.
        records: of trials that were judged before.
    """

    def __init__(
        self,
        experiment: Experiment,
        scheduler: Scheduler | None = None,
        records: Sequence[TrialRecord] = (),
    ) -> None:
        self.records = list(records)
        self._experiment = experiment
        self._scheduler = scheduler or algorithms.scheduler(experiment)

    @staticmethod
    def of(folder: Path, name: object, *, mode: str = "max") -> "Judged":
        """Judge by a scheduler that an experiment file names."""
        return Judged(_experiment(folder, name, mode))

    def put(self, record: TrialRecord) -> None:
        """Replace a trial's record."""
        self.records[record.number] = record

    def add(self, *, point: int | None = None, seed: int = 0) -> int:
        """Add a running trial; return its number."""
        number = len(self.records)
        new = TrialRecord.new({"x": number if point is None else point}, seed=seed)
        self.records.append(new)
        self.put(replace(new, number=number, state=State.RUNNING))
        return number

    def judge(self, number: int) -> Decision:
        """Judge a trial's last report; keep the scheduler's notes, as JSON has them."""
        is_over, record = self._scheduler.judge(
            self.records[number], self.records, experiment=self._experiment
        )
        self.put(replace(record, notes=json.loads(json.dumps(dict(record.notes)))))
        return Decision.STOP if is_over else Decision.CONTINUE

    def report(self, number: int, epoch: int, value: float) -> Decision:
        """Report an epoch of a trial and judge it."""
        record = self.records[number]
        self.put(replace(record, values={**record.values, epoch: value}))
        return self.judge(number)

    def end(self, number: int, state: State, value: float) -> None:
        """End a trial."""
        self.put(replace(self.records[number], state=state, result=(value,)))

    def run(self, curve: Sequence[float]) -> list[Decision]:
        """Return the decisions on one trial until it stops or the curve ends."""
        number, decisions = self.add(), list[Decision]()
        for epoch, value in enumerate(curve, start=1):
            decisions.append(self.report(number, epoch, value))
            if decisions[-1] is Decision.STOP:
                break
        finite = [v for v in curve[: len(decisions)] if not math.isnan(v)]
        is_stopped = decisions[-1:] == [Decision.STOP]
        state = State.PRUNED if is_stopped else State.COMPLETE
        self.end(number, state, max(finite, default=0.0))
        return decisions


def _experiment(folder: Path, name: object, mode: str) -> Experiment:
    objective = {"metric": "acc", "mode": mode}
    return make_experiment(folder, scheduler=name, objective=objective)

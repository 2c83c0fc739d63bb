"""The only writer of a sweep: every answer is a function of what it has written.

It holds no state that a restart would miss, but for which slot runs which trial.
"""

import functools
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from optuna.study import Study
from optuna.trial import TrialState

from sweeper import lineage
from sweeper.cards.ladder import Rung
from sweeper.experiment.experiment import Experiment, epochs
from sweeper.experiment.space import Space
from sweeper.host.paths import SweepPaths
from sweeper.protocol import Report
from sweeper.scheduling import extension, warm
from sweeper.scheduling.desk import Desk
from sweeper.scheduling.halt import Halt
from sweeper.scheduling.launch import Launch
from sweeper.scheduling.spec import make_spec
from sweeper.scheduling.stopwatch import Stopwatch
from sweeper.search import algorithms, policy
from sweeper.stop import Stop, StopReason
from sweeper.storage import attributes, result, store
from sweeper.storage.replay import STATES
from sweeper.storage.rows import Rows
from sweeper.trial import Decision, Demand, Failure, FailureKind, State, TrialSpec


class Journal:
    """Hands out trials and records what becomes of them.

    A slot is whoever runs one trial at a time: a Ray worker, or this process.

    Args:
        experiment: what runs; its sweep's folder is `folder`.
        launch: what the driver settled for this start.
        clock: seconds; only differences count.
        study: where to write instead of the sweep's storage.
    """

    def __init__(
        self,
        experiment: Experiment,
        space: Space,
        folder: Path,
        launch: Launch,
        *,
        clock: Callable[[], float] = time.monotonic,
        study: Study | None = None,
    ) -> None:
        self._experiment = experiment
        self._space = space
        self._paths = SweepPaths(folder)
        self._study = study or store.open_study(experiment, self._paths)
        launch = replace(launch, uid=store.uid(self._study))
        self._launch = launch
        self._rows = Rows(self._study)
        self._changed = self._rows.follow()
        self._scheduler = algorithms.scheduler(experiment)
        self._desk = Desk(
            experiment,
            space,
            launch,
            rows=self._rows,
            search=algorithms.search(experiment),
            scheduler=self._scheduler,
            warm=warm.history(self._study, experiment, space, self._paths),
        )
        self._spec = functools.partial(
            make_spec, experiment, space, launch, paths=self._paths
        )
        self._watch = Stopwatch(clock)
        self._halt = Halt(experiment, self._study, clock=clock)
        self._recover()
        self._extend()

    def _recover(self) -> None:
        """Put trials that a dead driver left running back in the queue."""
        for frozen in self._rows.all():
            if frozen.state is TrialState.RUNNING:
                self._rows.move(frozen.user_attrs["id"], TrialState.WAITING)

    def _extend(self) -> None:
        """Bring the rows up to the file, which may have been edited since."""
        hidden = extension.removed(
            self._rows.all(),
            experiment=self._experiment,
            space=self._space,
            seeds_before=self._rows.remember_seeds(self._experiment.seeds),
        )
        self._rows.hide(hidden)
        now = epochs(self._experiment)
        ids = self._launch.outgrown
        rows = extension.outgrown(self._rows.listed(), epochs=now, ids=ids)
        for row in list(rows):
            self._rows.put_again(row)

    # ---- handing out

    def claim(self, slot: str, demand: Demand | None = None) -> Demand | None:
        """Reserve the next trial for a slot; None where it has nothing to run now.

        Args:
            slot: who will run it.
            demand: only a trial that asks for exactly this, where given.
        """
        self._halt.watch_budget(self._changed)
        return None if self._halt.is_on else self._desk.claim(slot, demand)

    def peek(self) -> Demand | None:
        """What the trial that `claim` would reserve asks for; None for none."""
        return None if self._halt.is_on else self._desk.peek()

    def is_finished(self) -> bool:
        """Whether no trial runs and none will start in this driver's life."""
        if not self._desk.is_empty:
            return False
        return self._halt.is_on or self._desk.peek() is None

    def start(self, slot: str, card: str = "") -> TrialSpec:
        """Mark the slot's trial as running; what its process needs to know.

        Args:
            card: type of the cards where the slot is, "" for not known.
        """
        identity, demand = self._desk.trial(slot), self._desk.demand(slot)
        frozen = self._rows.get(identity)
        busy = frozen.user_attrs.get("progress", {}).get("busy_seconds", 0.0)
        attempt = {
            "slot": slot,
            "at": _now(),
            "busy_before": busy,
            "code": self._launch.code,
        }
        with self._rows.together():
            self._rows.note(
                identity,
                attempts=[*frozen.user_attrs.get("attempts", ()), attempt],
                epochs=epochs(self._experiment),
                demand=asdict(demand),
                busy_before=busy,
                **self._desk.known(frozen, demand, card=card),
            )
            self._rows.move(identity, TrialState.RUNNING)
        self._watch.start(slot)
        return self._spec(self._rows.get(identity), demand=demand)

    # ---- what becomes of it

    def report(self, slot: str, report: Report) -> Decision:
        """Record one epoch, then say whether the trial goes on.

        Args:
            slot: whose trial reports.
            report: what it reports.
        """
        identity = self._desk.trial(slot)
        frozen = self._rows.get(identity)
        busy = frozen.user_attrs.get("busy_before", 0.0) + report.busy_seconds
        known = frozen.user_attrs.get("progress", {}).get("busy_seconds", 0.0)
        self._watch.count(slot)
        progress = {
            "metrics": dict(report.metrics),
            "busy_seconds": max(busy, known),
            **self._desk.learn(slot, frozen, report.usage),
        }
        with self._rows.together():
            self._rows.note(identity, progress=progress)
            if report.is_mean and not frozen.user_attrs.get("is_mean"):
                self._rows.note(identity, is_mean=True)
            if report.values:
                # What is not finite is no value: nothing may rank or stop by it.
                values = [v if math.isfinite(v) else math.nan for v in report.values]
                self._rows.report(identity, epoch=report.epoch, values=values)
        if report.values and self._is_pruned(identity):
            return Decision.STOP
        self.count_time()
        return Decision.PAUSE if self._halt.is_on else Decision.CONTINUE

    def count_time(self) -> None:
        """Count the time of trials that have not reported for a while."""
        for slot in self._watch.silent():
            self._count(slot, self._desk.trial(slot))
        self._halt.watch_budget(self._changed)

    def _count(self, slot: str, identity: str) -> None:
        kept = self._watch.progress(slot, self._rows.get(identity).user_attrs)
        self._rows.note(identity, **kept)
        self._watch.count(slot)

    def _release(self, slot: str) -> str:
        """Take the trial from a slot, its attempt's time counted; return its id."""
        identity = self._desk.release(slot)
        self._count(slot, identity)
        self._watch.stop(slot)
        return identity

    def _is_pruned(self, identity: str) -> bool:
        """Whether the scheduler ends the trial; once said, it stays said."""
        frozen = self._rows.get(identity)
        if "stopped_at" in frozen.user_attrs:
            return True
        decision = policy.decide(self._study, frozen, scheduler=self._scheduler)
        if decision is Decision.STOP:
            self._rows.note(identity, stopped_at=frozen.last_step)
        return decision is Decision.STOP

    def finish(self, slot: str) -> State:
        """End the slot's trial with its best value.

        A trial without one finite value has failed.
        """
        identity = self._desk.trial(slot)
        frozen = self._rows.get(identity)
        objective = self._experiment.objective
        best = attributes.to_trial(frozen).best(objective)
        if best is None or not math.isfinite(best[1]):
            has_epochs = bool(frozen.intermediate_values)
            what = "was never finite" if has_epochs else "was never reported"
            return self.fail(
                slot,
                Failure(
                    kind=FailureKind.NAN,
                    message=f"{objective.metric} {what}",
                    step=frozen.last_step or 0,
                ),
            )
        epoch, value = best
        others = attributes.others(frozen.user_attrs).get(epoch, ())
        # The end of a generation is the end of a trial, not a judgement on it.
        is_member = lineage.of(frozen.user_attrs) is not None
        is_pruned = "stopped_at" in frozen.user_attrs and not is_member
        state = TrialState.PRUNED if is_pruned else TrialState.COMPLETE
        with self._rows.together():
            self._release(slot)
            self._rows.move(identity, state, [value, *others])
        result.save(self._rows.get(identity), self._paths.trial(identity))
        self._halt.succeeded()
        return STATES[state]

    def fail(self, slot: str, failure: Failure) -> State:
        """Record a failed attempt: WAITING where a retry is left, else FAILED."""
        demand = self._desk.demand(slot)
        identity = self._release(slot)
        frozen = self._rows.get(identity)
        stored = [*frozen.user_attrs.get("failures", ()), asdict(failure)]
        rung = self._desk.rung(frozen, failure, demand)
        attempts = [attributes.to_failure(data) for data in stored]
        is_retried = (
            policy.retry(attempts, self._experiment.retry)
            if rung is None
            else rung is not Rung.INFEASIBLE
        )
        state = TrialState.WAITING if is_retried else TrialState.FAIL
        with self._rows.together():
            self._rows.note(identity, failures=stored)
            if rung is not None:
                self._rows.note(identity, **self._desk.lesson(frozen, rung, demand))
            self._rows.move(identity, state)
        if not is_retried:
            result.save(self._rows.get(identity), self._paths.trial(identity))
            if rung is None:  # that a point is too large says nothing of the next
                self._halt.failed(identity, failure)
        return STATES[state]

    def pause(self, slot: str) -> None:
        """Put the slot's trial back in the queue as it is."""
        self._rows.move(self._release(slot), TrialState.WAITING)

    def lost(self, slot: str) -> None:
        """Record that a slot died; its trial, if it held one, counts as lost."""
        if not self._desk.holds(slot):
            return
        step = self._rows.get(self._desk.trial(slot)).last_step or 0
        message = "the process or its node died"
        self.fail(slot, Failure(kind=FailureKind.LOST, message=message, step=step))

    # ---- the sweep as a whole

    def drain(self) -> None:
        """From now on start nothing and pause every trial at its next epoch."""
        self._halt.set(StopReason.INTERRUPTED)

    def abort(self, slot: str, message: str) -> None:
        """Stop the sweep for an error that every trial would meet.

        If another one has ended well with the same code, the error is this trial's own.
        """
        code = self._launch.code
        has_ended_well = self._halt.has_succeeded or any(
            row.state is TrialState.COMPLETE
            and row.user_attrs.get("attempts", [{}])[-1].get("code") == code
            for row in self._rows.listed()
        )
        if has_ended_well:
            self.fail(slot, Failure(kind=FailureKind.ERROR, message=message))
            return
        self._halt.set(StopReason.ERROR, message)
        self.pause(slot)

    def stopped_by(self) -> Stop:
        """What made the journal start nothing more."""
        return self._halt.stop


def _now() -> str:
    """The time of day in UTC, for the timeline of a report; nothing depends on it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")

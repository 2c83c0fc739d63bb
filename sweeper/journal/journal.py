"""The only writer of a sweep; its decisions depend on the written records alone.

Its only state that a restart loses is the assignment of trials to slots.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from optuna.study import Study

from sweeper.experiment.definition import Experiment, epochs
from sweeper.experiment.space import Space
from sweeper.journal import recovery, warm_start
from sweeper.journal import study as studies
from sweeper.journal.budget import StopConditions
from sweeper.journal.queue import TrialQueue, measured, unstarted
from sweeper.journal.record import (
    Attempt,
    Cause,
    Demand,
    Failure,
    State,
    Stop,
    StopReason,
    TrialRecord,
)
from sweeper.journal.run_context import RunContext
from sweeper.journal.spec import make_spec
from sweeper.journal.study import again
from sweeper.packing.packing import OomAction
from sweeper.protocol import Decision, Ended, FailureKind, Report, TrialSpec
from sweeper.search import algorithms, policy
from sweeper.system.paths import SweepPaths

COUNT_SECONDS = 30.0  # interval at which a silent attempt's time is written


class Journal:
    """The journal of a sweep, which assigns trials to slots and records their results.

    A slot runs one trial at a time: it is a Ray worker, or this process.

    Args:
        experiment: of the sweep.
        folder: of the sweep.
        context: settings of this start.
        clock: seconds; only differences count.
        study: written instead of the sweep's file, if given.
    """

    def __init__(
        self,
        experiment: Experiment,
        space: Space,
        folder: Path,
        context: RunContext,
        *,
        clock: Callable[[], float] = time.monotonic,
        study: Study | None = None,
    ) -> None:
        self._experiment = experiment
        self._space = space
        self._paths = SweepPaths(folder)
        self._store = store = (
            studies.open_store(experiment.name, experiment.objectives, self._paths)
            if study is None
            else studies.prepare(study)
        )
        self._context = context = replace(context, uid=store.uid)
        self._scheduler = algorithms.scheduler(experiment)
        self._queue = TrialQueue(
            experiment,
            space,
            context,
            store=store,
            search=algorithms.search(experiment),
            scheduler=self._scheduler,
            warm=warm_start.history(store, experiment, space, self._paths),
        )
        self._spec = functools.partial(
            make_spec, experiment, space, context, paths=self._paths
        )
        self._clock = clock
        self._conditions = StopConditions(experiment, store, clock=clock)
        self._recover()
        self._extend()

    def _recover(self) -> None:
        """Put trials that a dead driver left running back in the queue."""
        for record in list(self._store.all()):
            if record.state is State.RUNNING:
                *before, attempt = record.attempts
                attempt = replace(attempt, cause=Cause.KILLED)
                self._store.put(
                    replace(record, attempts=(*before, attempt), state=State.WAITING)
                )

    def _extend(self) -> None:
        """Hide removed trials and extend short ones, by the edited experiment file."""
        experiment, store = self._experiment, self._store
        seeds = sorted({*store.attribute("seeds", ()), *experiment.seeds})
        store.set_attribute("seeds", seeds)
        hidden = recovery.removed(
            store.all(), experiment=experiment, space=self._space, seeds_before=seeds
        )
        store.hide(hidden)
        now, ids = epochs(experiment), self._context.outgrown
        for record in list(recovery.outgrown(store.shown(), epochs=now, ids=ids)):
            store.add(again(record))

    # ---- assigning trials

    def claim(self, slot: str, demand: Demand | None = None) -> Demand | None:
        """Reserve the next trial for a slot; return its demand, or None if none starts.

        Args:
            slot: name of the slot.
            demand: only a trial with exactly this demand; None for any.
        """
        self._conditions.watch_budget()
        return None if self._conditions.is_met else self._queue.claim(slot, demand)

    def offer(self) -> Demand | None:
        """Return the demand of the trial that `claim` would reserve, if any.

        A new trial is written to the journal.
        """
        return None if self._conditions.is_met else self._queue.offer()

    def is_finished(self) -> bool:
        """Return whether no trial runs and none will start with this driver."""
        if self._queue.slots:
            return False
        return self._conditions.is_met or self._queue.is_finished

    def start(self, slot: str, card: str = "") -> TrialSpec:
        """Mark the slot's trial as running; return its specification.

        Args:
            slot: name of the slot.
            card: type of the cards of the slot's node; "" if unknown.
        """
        record, claimed = self._queue.trial(slot), self._queue.slots[slot]
        demand = claimed.demand
        attempt = Attempt(
            slot=slot,
            started_at=datetime.now(UTC),
            demand=demand,
            card=(card or demand.accelerator) if demand.gpus else "",
            code=self._context.code,
        )
        record = self._store.put(
            replace(
                record,
                state=State.RUNNING,
                attempts=(*record.attempts, attempt),
                epochs=epochs(self._experiment),
                **self._queue.started(record, demand),
            )
        )
        claimed.began = claimed.counted = self._clock()
        return self._spec(record, demand=demand)

    # ---- results

    def report(self, slot: str, report: Report) -> Decision:
        """Record one epoch, then decide whether the trial continues."""
        record = _with_seconds(self._queue.trial(slot), report.busy_seconds)
        self._queue.slots[slot].counted = self._clock()
        is_full = self._queue.is_full(slot)
        record = replace(
            record,
            metrics=dict(report.metrics),
            is_mean=record.is_mean or report.is_mean,
            **measured(record, report.usage, is_full=is_full),
        )
        if report.values:
            values = studies.with_report(
                record, epoch=report.epoch, values=report.values
            )
            record = replace(record, **values)
        record = self._store.put(record)
        if report.values and self._is_stopped(record):
            return Decision.STOP
        self.count_time()
        return Decision.PAUSE if self._conditions.is_met else Decision.CONTINUE

    def count_time(self) -> None:
        """Write the time of trials that have been silent for `COUNT_SECONDS`."""
        now = self._clock()
        for name, slot in self._queue.slots.items():
            if slot.began is not None and now >= slot.counted + COUNT_SECONDS:
                record = self._queue.trial(name)
                self._store.put(_with_seconds(record, now - slot.began))
                slot.counted = now
        self._conditions.watch_budget()

    def _is_stopped(self, record: TrialRecord) -> bool:
        """Return whether the scheduler stops the trial or has stopped it before."""
        if record.stopped_at is not None:
            return True
        is_over, judged = self._scheduler.judge(
            record, self._store.all(), experiment=self._experiment
        )
        if is_over:
            judged = replace(judged, stopped_at=record.last_epoch)
        if judged is not record:
            self._store.put(judged)
        return is_over

    def _end(
        self, slot: str, cause: Cause, failure: Failure | None = None
    ) -> TrialRecord:
        """Take the trial from a slot; return its record with the attempt ended."""
        record = self._queue.trial(slot)
        began = self._queue.slots.pop(slot).began
        if began is None:  # the slot died before the trial started
            if failure is None:
                return record
            attempt = unstarted(failure, code=self._context.code)
            return replace(record, attempts=(*record.attempts, attempt))
        record = _with_seconds(record, self._clock() - began)
        *before, attempt = record.attempts
        attempt = replace(
            attempt, ended_at=datetime.now(UTC), cause=cause, failure=failure
        )
        return replace(record, attempts=(*before, attempt))

    def finish(self, slot: str) -> State:
        """End the slot's trial with its best value.

        A trial without a finite value fails.
        """
        record = self._queue.trial(slot)
        objective = self._experiment.objective
        best = record.best(objective)
        if best is None:
            problem = "was never finite" if record.values else "was never reported"
            return self.fail(
                slot,
                Failure(
                    kind=FailureKind.NAN,
                    message=f"{objective.metric} {problem}",
                    step=record.last_epoch,
                ),
            )
        epoch, value = best
        is_stopped = record.stopped_at is not None
        state = self._scheduler.stops_as if is_stopped else State.COMPLETE
        cause = Cause.STOPPED if state is State.PRUNED else Cause.FINISHED
        record = self._store.put(
            replace(
                self._end(slot, cause),
                state=state,
                result=(value, *record.others.get(epoch, ())),
            )
        )
        recovery.save_result(record, self._paths.trial(record.id))
        self._conditions.succeeded()
        return record.state

    def fail(self, slot: str, failure: Failure) -> State:
        """Record a failed attempt: WAITING if a retry is left, else FAILED."""
        demand = self._queue.slots[slot].demand
        record = self._end(slot, Cause.FAILED, failure)
        action = self._queue.assignment.oom_action(record, failure, demand)
        is_retried = (
            policy.retry(record.failures, self._experiment.retry)
            if action is None
            else action is not OomAction.INFEASIBLE
        )
        record = self._store.put(
            replace(
                record,
                state=State.WAITING if is_retried else State.FAILED,
                is_shrunk=record.is_shrunk or action is OomAction.SHRINK,
                is_infeasible=action is OomAction.INFEASIBLE,
            )
        )
        if not is_retried:
            recovery.save_result(record, self._paths.trial(record.id))
            if (
                action is None
            ):  # a point that is too large does not count as a failure in a row
                self._conditions.failed(record.id, failure)
        return record.state

    def pause(self, slot: str) -> None:
        """Put the slot's trial back in the queue."""
        self._store.put(replace(self._end(slot, Cause.PAUSED), state=State.WAITING))

    def lost(self, slot: str) -> None:
        """Record that a slot died; its trial, if any, fails as lost."""
        if slot not in self._queue.slots:
            return
        step = self._queue.trial(slot).last_epoch
        message = "the process or its node died"
        self.fail(slot, Failure(kind=FailureKind.LOST, message=message, step=step))

    def end(self, slot: str, ended: Ended, card: str = "") -> TrialSpec | None:
        """Record the end of the slot's attempt, then start its next trial.

        Returns:
            The spec of the next trial with the same demand; None if none starts now.
        """
        demand = self._queue.slots[slot].demand
        match ended.event:
            case "finished":
                self.finish(slot)
            case "paused":
                self.pause(slot)
            case "fatal":
                self.abort(slot, ended.message)
            case _:
                failure = Failure(
                    kind=FailureKind(ended.kind),
                    message=ended.message,
                    step=self._queue.trial(slot).last_epoch,
                    traceback=ended.traceback,
                )
                self.fail(slot, failure)
        return None if self.claim(slot, demand) is None else self.start(slot, card)

    # ---- the sweep as a whole

    def drain(self) -> None:
        """Start no more trials, and pause every running one at its next report."""
        self._conditions.set(StopReason.INTERRUPTED)

    def abort(self, slot: str, message: str) -> None:
        """Stop the sweep for an error that would affect every trial.

        If another trial has succeeded with the same code, only this trial fails.
        """
        has_ended_well = self._conditions.has_succeeded or any(
            record.state is State.COMPLETE
            and record.attempts[-1:]
            and record.attempts[-1].code == self._context.code
            for record in self._store.shown()
        )
        if has_ended_well:
            self.fail(slot, Failure(kind=FailureKind.ERROR, message=message))
            return
        self._conditions.set(StopReason.ERROR, message)
        self.pause(slot)

    def stopped_by(self) -> Stop:
        """Return the reason for which the journal starts no more trials."""
        return self._conditions.stop


def _with_seconds(record: TrialRecord, seconds: float) -> TrialRecord:
    """Return a record whose running attempt has taken at least `seconds`."""
    *before, attempt = record.attempts
    attempt = replace(attempt, busy_seconds=max(seconds, attempt.busy_seconds))
    return replace(record, attempts=(*before, attempt))

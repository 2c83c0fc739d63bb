"""The driver of `run`: it runs a sweep from the state of its journal to its end.

It handles signals, clocks and processes. The journal decides about trials.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from sweeper.compat import ray as compat
from sweeper.driver import cluster, journal_service, placement, wandb_sweep_run
from sweeper.driver.cluster import ClusterOptions
from sweeper.driver.journal_service import JournalActor, RemoteJournal
from sweeper.driver.prewarm import Prewarm
from sweeper.driver.signals import (
    POLL_SECONDS,
    Signals,
    StoppedError,
    await_result,
    submit,
)
from sweeper.driver.watch import EventLog, NodeWatch
from sweeper.experiment.definition import Experiment
from sweeper.journal import budget, recovery, retention, spec, store
from sweeper.journal.record import Stop, StopReason, Sweep
from sweeper.packing import booking
from sweeper.plan import preflight
from sweeper.plan.checks import Finding
from sweeper.plan.plan import Plan, compare_epochs
from sweeper.reporting import html_report, tables
from sweeper.reporting.status import Display
from sweeper.statistics import leaderboard
from sweeper.system import disk, locks, wandb
from sweeper.system.errors import (
    AddressError,
    ClusterLostError,
    LockedError,
    SweeperError,
)
from sweeper.system.paths import SweepPaths, remove_stale_temporaries, write_text

LEAVE_SECONDS = 10.0
# For Ray to stop, which takes about one second. If this process exits before Ray has
# stopped, Ray ends it with exit code 1.
SHUTDOWN_SECONDS = 60.0
START_SECONDS = 300.0  # for Ray to start; it takes 2 to 7
CONNECT_SECONDS = 60.0  # for a cluster to answer
OPEN_SECONDS = 900.0  # to predict memory and open the journal
ANSWER_SECONDS = 300.0  # for the journal to answer
COUNT_SECONDS = 10.0  # between two updates of the time of running trials
T = TypeVar("T")


def run(
    plan: Plan,
    *,
    prewarm: Prewarm,
    options: ClusterOptions,
    display: Display,
    may_exit: bool = False,
) -> tuple[Sweep, Stop]:
    """Run the remaining trials of a sweep; write its tables, report and W&B run.

    Args:
        prewarm: the zygote, prepared for the plan's experiment.
        may_exit: whether a second signal may end this process.

    Returns:
        The sweep at its end, and the reason of the stop.

    Raises:
        LockedError: another driver holds the sweep.
        AddressError: no cluster answers at the given address.
        ExperimentChangedError: the sweep's folder belongs to another experiment.
        SweeperError: every trial would fail.
    """
    options.check()
    paths = SweepPaths(plan.folder)
    disk.wait(disk.made(paths.folder), display.event)
    paths.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        other = stack.enter_context(locks.hold(paths.lock))
        if other is not None:
            raise LockedError(
                f"{plan.folder}: process {other.pid} on {other.host} has driven this "
                f"sweep since {other.since}; stop it (Ctrl-C there, or kill "
                f"{other.pid}) or watch it with `sweeper status {plan.folder.name}`"
            )
        plan = compare_epochs(plan)
        if admit(plan.experiment, paths):
            display.event("no epoch was reported so far: the sweep starts from scratch")
        signals = stack.enter_context(
            Signals(may_exit=may_exit, is_asked=paths.stop_request.exists)
        )
        driver = _Driver(plan=plan, options=options, display=display, signals=signals)
        sweep, stop = driver.drive(prewarm, stack)
    wandb_sweep_run.record(sweep, stop)
    return sweep, stop


def admit(experiment: Experiment, paths: SweepPaths) -> bool:
    """Store the experiment in the sweep's folder.

    Returns:
        Whether the trials of an earlier start were removed; none of them had a result.

    Raises:
        ExperimentChangedError: a setting has changed that must not change.
    """
    remove_stale_temporaries(paths.folder)
    paths.stop_request.unlink(missing_ok=True)
    is_replaced = recovery.is_replaced(experiment, paths)
    if is_replaced:
        recovery.discard(paths)
    store.save_experiment(experiment, paths)
    spec.relocate(paths, experiment)
    return is_replaced


def write_leaderboard(sweep: Sweep) -> None:
    """Write the derived tables and the report of a sweep to its folder."""
    rows = leaderboard.rank(sweep)
    write_text(sweep.paths.leaderboard_csv, tables.to_csv(sweep, rows))
    write_text(sweep.paths.leaderboard_md, tables.to_markdown(sweep, rows))
    html_report.write(sweep)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Driver:
    """The driver of one start of a sweep; this process holds the sweep's lock."""

    plan: Plan
    options: ClusterOptions
    display: Display
    signals: Signals

    def drive(self, prewarm: Prewarm, stack: ExitStack) -> tuple[Sweep, Stop]:
        """Start Ray and the journal, watch the trials, stop Ray."""
        scratch = prewarm.zygote.parent
        started = submit(
            lambda: cluster.start(self.options, scratch=scratch), is_kept=True
        )
        findings = submit(
            lambda: preflight.before_run(
                self.plan, prewarm.await_import(), prewarm.zygote
            )
        )
        try:
            try:
                self._await_ray(started)
                self._book_cards(stack)
                journal = self._open_journal()
            except StoppedError:
                return self._stopped_early(started)
            # Slots start while the preflight still runs, and wait for its end.
            slots = submit(
                lambda: placement.fit(
                    journal, experiment=self.plan.experiment, address=prewarm.zygote
                )
            )
            try:
                self._await_preflight(findings, journal)
            except SweeperError:
                wait([slots], timeout=LEAVE_SECONDS)
                raise
            self._watch(slots, journal)
            stop = self._ask(lambda: journal.ask(JournalActor.stopped_by))
            if stop.reason is StopReason.ERROR:
                raise budget.located(self.plan.experiment, stop.message)
            # The lock is still held here, so the sweep would be shown as running.
            sweep = replace(store.load_sweep(self.plan.folder), is_running=False)
            # Written while Ray stops.
            written = submit(lambda: write_leaderboard(sweep))
        finally:
            if started.done():
                wait([submit(compat.shutdown)], timeout=SHUTDOWN_SECONDS)
        written.result()
        return sweep, stop

    def _await_ray(self, started: "Future[None]") -> None:
        """Wait until this process is connected to Ray.

        Raises:
            StoppedError: the user stops the sweep.
            AddressError: the service at the address does not answer as Ray does.
        """
        if self.options.resolved():
            late = AddressError(
                f"{self.options.source()}: no Ray cluster answers there within "
                f"{CONNECT_SECONDS:g} s; is it another service, or a cluster that is "
                "ending?"
            )
            self._wait(started, seconds=CONNECT_SECONDS, late=late)
        else:
            self._wait(started, "Ray's start", seconds=START_SECONDS)
        self.signals.renew()

    def _book_cards(self, stack: ExitStack) -> None:
        """Book the cards of this machine; warn if another sweep has booked them too."""
        booked = booking.book(self.plan.experiment, count=cluster.own_cards())
        for other in stack.enter_context(booked):
            self.display.event(booking.warning(other))

    def _open_journal(self) -> RemoteJournal:
        """Return the sweep's journal.

        Raises:
            StoppedError: the user stops the sweep; no slot was requested.
        """
        mode = wandb.mode(self.plan.experiment.wandb.mode)
        opened = submit(
            lambda: journal_service.open_journal(
                self.plan, wandb_mode=mode, say=self.display.event
            )
        )
        return self._wait(opened, "opening the journal", seconds=OPEN_SECONDS)

    def _ask(self, call: Callable[[], T]) -> T:
        """Return the journal's answer; only a second signal interrupts the wait."""
        step = "an answer of the journal"
        return self._wait(
            submit(call), step, seconds=ANSWER_SECONDS, is_stoppable=False
        )

    def _wait(
        self,
        future: "Future[T]",
        step: str = "",
        *,
        seconds: float,
        late: Exception | None = None,
        is_stoppable: bool = True,
    ) -> T:
        too_long = ClusterLostError(f"{step} took longer than {seconds:g} s")
        return await_result(
            future,
            signals=self.signals,
            seconds=seconds,
            late=late or too_long,
            check=cluster.check,
            is_excused=lambda: bool(disk.problem(self.plan.folder)),
            is_stoppable=is_stoppable,
        )

    def _stopped_early(self, started: "Future[None]") -> tuple[Sweep, Stop]:
        """Return the unchanged sweep after Ray's start, which cannot be interrupted."""
        if not wait([started], timeout=LEAVE_SECONDS).done:
            raise KeyboardInterrupt
        stop = Stop(reason=StopReason.INTERRUPTED)
        return store.load_sweep(self.plan.folder), stop

    def _await_preflight(
        self, findings: "Future[list[Finding]]", journal: RemoteJournal
    ) -> None:
        """Let the slots start their trials once the preflight has passed.

        Raises:
            SweeperError: the preflight failed; the slots exit.
        """
        has_passed = False
        try:
            with suppress(StoppedError):
                result = self._wait(findings, "the preflight", seconds=math.inf)
                preflight.admit(self.plan, result, say=self.display.event)
                has_passed = True
        finally:
            if not has_passed:
                journal.tell(JournalActor.drain)
            self._ask(lambda: journal.ask(JournalActor.open, has_passed))

    def _watch(self, slots: "Future[None]", journal: RemoteJournal) -> None:
        """Show events and obey signals until the trials have ended.

        Raises:
            ClusterLostError: Ray or the journal's process died.
        """
        experiment, folder = self.plan.experiment, self.plan.folder
        reader = store.Reader(experiment, folder)
        before = reader.sweep()
        retention.remove_temporaries(before)
        retention.tidy(before)
        check = cluster.check
        if not compat.is_head():
            check = NodeWatch(experiment, cluster.nodes, say=self.display.event).look
        event_log = EventLog(folder, self.display)
        is_draining, counted_at = False, time.monotonic()
        while True:
            is_over = bool(wait([slots], timeout=POLL_SECONDS).done)
            after = reader.sweep()
            event_log.write(before, after)
            if _ended(after) - _ended(before):
                event_log.write_once("retention", retention.tidy(after))
            before = after
            if not is_over or slots.exception() is not None:
                check()
            if is_over:
                return slots.result()
            if time.monotonic() > counted_at + COUNT_SECONDS:
                counted_at = time.monotonic()
                journal.tell(JournalActor.count_time)
            if self.signals.is_asked and not is_draining:
                is_draining = True
                self.display.event(
                    "Stopping: trials will pause at the end of their current epoch. "
                    "Press Ctrl-C again to stop now."
                )
                journal.tell(JournalActor.drain)
            if self.signals.count > 1:
                raise KeyboardInterrupt


def _ended(sweep: Sweep) -> set[str]:
    return {trial.id for trial in sweep.trials if trial.state.is_final}

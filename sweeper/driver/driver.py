"""`run`: drive a sweep from the state of its journal to its end.

Signals, clocks and processes meet here; nothing is decided about trials.
"""

import functools
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from sweeper.driver import wandb_sweep_run
from sweeper.driver.event_log import EventLog
from sweeper.driver.node_watch import NodeWatch
from sweeper.driver.options import ClusterOptions
from sweeper.driver.prewarm import Prewarm
from sweeper.driver.signals import (
    POLL_SECONDS,
    Signals,
    StoppedError,
    await_result,
    submit,
    too_late,
)
from sweeper.experiment.definition import Experiment
from sweeper.journal import budget, recovery, retention, spec, store
from sweeper.journal.record import Stop, StopReason, Sweep
from sweeper.packing import booking
from sweeper.plan import lengths, preflight
from sweeper.plan.checks import Finding
from sweeper.plan.plan import Plan
from sweeper.reporting import cells, html_report, markdown
from sweeper.reporting.live import Display
from sweeper.statistics import leaderboard
from sweeper.system import disk, locks, wandb
from sweeper.system.errors import AddressError, LockedError, SweeperError
from sweeper.system.paths import SweepPaths, remove_stale_temporaries, write_text

if TYPE_CHECKING:
    from sweeper.driver.journal_client import RemoteJournal

LEAVE_SECONDS = 10.0
# For Ray to stop, which takes about one. The end of a process whose Ray is still
# stopping makes Ray end it with exit code 1.
SHUTDOWN_SECONDS = 60.0
START_SECONDS = 300.0  # for Ray to start; it takes 2 to 7
CONNECT_SECONDS = 60.0  # for a cluster to answer
OPEN_SECONDS = 900.0  # for the journal to open, and memory to be predicted before
ANSWER_SECONDS = 300.0  # for the journal to answer
T = TypeVar("T")


def run(
    plan: Plan,
    *,
    prewarm: Prewarm,
    cluster: ClusterOptions,
    display: Display,
    may_exit: bool = False,
) -> tuple[Sweep, Stop]:
    """Run every trial that the sweep still owes; write its tables, report and W&B run.

    Args:
        prewarm: prepared for the plan's experiment.
        may_exit: whether a second signal may end this process.

    Returns:
        The sweep at its end, and why it ended.

    Raises:
        LockedError: another driver holds the sweep.
        AddressError: no cluster answers at the given address.
        ExperimentChangedError: the sweep's folder belongs to another experiment.
        SweeperError: an error that every trial meets.
    """
    cluster.check()
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
        plan = lengths.compare(plan)
        if admit(plan.experiment, paths):
            display.event("no epoch was reported so far: the sweep starts from scratch")
        signals = stack.enter_context(
            Signals(may_exit=may_exit, is_asked=paths.stop_request.exists)
        )
        driver = _Driver(plan=plan, cluster=cluster, display=display, signals=signals)
        sweep, stop = driver.drive(prewarm, stack)
    wandb_sweep_run.record(sweep, stop)
    return sweep, stop


def admit(experiment: Experiment, paths: SweepPaths) -> bool:
    """Store the experiment beside its sweep, unless the sweep is another one.

    Returns:
        Whether trials of an earlier start, none of which has a result, were removed.

    Raises:
        ExperimentChangedError: a setting has changed that may not change.
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
    write_text(sweep.paths.leaderboard_csv, cells.to_csv(sweep, rows))
    write_text(sweep.paths.leaderboard_md, markdown.leaderboard(sweep, rows))
    html_report.write(sweep)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Driver:
    """One start of a sweep whose lock this process holds."""

    plan: Plan
    cluster: ClusterOptions
    display: Display
    signals: Signals

    def drive(self, prewarm: Prewarm, stack: ExitStack) -> tuple[Sweep, Stop]:
        """Start Ray and the journal, watch the trials, stop Ray."""
        from sweeper.compat import ray as compat
        from sweeper.driver import placement, ray_cluster

        scratch = prewarm.zygote.parent
        started = submit(
            functools.partial(ray_cluster.start, self.cluster, scratch=scratch),
            is_kept=True,
        )
        findings = submit(functools.partial(_findings, self.plan, prewarm))
        try:
            try:
                self._await_ray(started)
                booked = booking.book(
                    self.plan.experiment, count=ray_cluster.own_cards()
                )
                for other in stack.enter_context(booked):
                    self.display.event(booking.warning(other))
                journal = self._open_journal()
            except StoppedError:
                return self._stopped_early(started)
            # Slots take as long to start as the preflight takes: they wait for it.
            trials = submit(
                functools.partial(
                    placement.fit,
                    journal,
                    experiment=self.plan.experiment,
                    address=prewarm.zygote,
                )
            )
            try:
                self._await_preflight(findings, journal)
            except SweeperError:
                wait([trials], timeout=LEAVE_SECONDS)
                raise
            self._watch(trials, journal)
            stop = self._ask(journal.stopped_by)
            if stop.reason is StopReason.ERROR:
                raise budget.located(self.plan.experiment, stop.message)
            # This process still holds the lock, but nothing runs any more.
            sweep = replace(store.load_sweep(self.plan.folder), is_running=False)
            # While Ray stops, which is mostly waiting.
            written = submit(functools.partial(write_leaderboard, sweep))
        finally:
            if started.done():
                wait([submit(compat.shutdown)], timeout=SHUTDOWN_SECONDS)
        written.result()
        return sweep, stop

    def _await_ray(self, started: "Future[None]") -> None:
        """Wait until this process is connected to Ray.

        Raises:
            StoppedError: the sweep is to stop.
            AddressError: what listens at the address does not answer as Ray does.
        """
        from sweeper.driver import ray_cluster

        is_ours = not self.cluster.resolved()
        seconds = START_SECONDS if is_ours else CONNECT_SECONDS
        late = too_late("Ray's start", seconds)
        if not is_ours:
            late = functools.partial(
                AddressError,
                f"{self.cluster.place()}: no Ray cluster answers there within "
                f"{seconds:g} s; is it another service, or a cluster that is ending?",
            )
        await_result(
            started,
            signals=self.signals,
            seconds=seconds,
            late=late,
            check=ray_cluster.check,
        )
        self.signals.renew()

    def _open_journal(self) -> "RemoteJournal":
        """Return the sweep's journal.

        Raises:
            StoppedError: the sweep is to stop; no slot was requested.
        """
        from sweeper.driver import journal_server

        opened = functools.partial(
            journal_server.open_journal,
            self.plan,
            wandb_mode=wandb.mode(self.plan.experiment.wandb.mode),
            say=self.display.event,
        )
        return self._answer(opened, "opening the journal", seconds=OPEN_SECONDS)

    def _ask(self, call: Callable[[], T]) -> T:
        """Return the journal's answer; only a second signal ends the wait for it."""
        return self._answer(
            call,
            "an answer of the journal",
            seconds=ANSWER_SECONDS,
            is_stoppable=False,
        )

    def _answer(
        self,
        call: Callable[[], T],
        step: str,
        *,
        seconds: float,
        is_stoppable: bool = True,
    ) -> T:
        from sweeper.driver import ray_cluster

        return await_result(
            submit(call),
            signals=self.signals,
            seconds=seconds,
            late=too_late(step, seconds),
            check=ray_cluster.check,
            is_excused=lambda: bool(disk.problem(self.plan.folder)),
            is_stoppable=is_stoppable,
        )

    def _stopped_early(self, started: "Future[None]") -> tuple[Sweep, Stop]:
        """Return the sweep as it was, once Ray has started: its start cannot be cut."""
        if not wait([started], timeout=LEAVE_SECONDS).done:
            raise KeyboardInterrupt
        stop = Stop(reason=StopReason.INTERRUPTED)
        return store.load_sweep(self.plan.folder), stop

    def _await_preflight(
        self, findings: "Future[list[Finding]]", journal: "RemoteJournal"
    ) -> None:
        """Let the slots start their trials once the preflight has passed.

        Raises:
            SweeperError: it has not; the slots leave.
        """
        has_passed = False
        signals = self.signals
        try:
            while not wait([findings], timeout=POLL_SECONDS).done:
                if signals.is_asked:
                    break
            # A signal to every process ends the batches, too: they say nothing then.
            if not signals.is_asked:
                preflight.admit(self.plan, findings.result(), say=self.display.event)
                has_passed = True
        finally:
            if not has_passed:
                journal.drain()
            self._ask(functools.partial(journal.open, has_passed))

    def _watch(self, trials: "Future[None]", journal: "RemoteJournal") -> None:
        """Show events and obey signals until the trials have ended.

        Raises:
            ClusterLostError: Ray or the journal's process died.
        """
        experiment, paths = self.plan.experiment, SweepPaths(self.plan.folder)
        reader = store.Reader(experiment, paths.folder)
        before = reader.sweep()
        retention.remove_temporaries(before)
        retention.tidy(before)
        check = _cluster_check(experiment, self.display)
        event_log = EventLog([paths.folder], self.display)
        is_draining = False
        while True:
            is_over = bool(wait([trials], timeout=POLL_SECONDS).done)
            after = reader.sweep()
            event_log.write(before, after)
            if _ended(after) - _ended(before):
                event_log.write_once("retention", retention.tidy(after))
            before = after
            if not is_over or trials.exception() is not None:
                check()
            if is_over:
                return trials.result()
            journal.count_time()
            if self.signals.is_asked and not is_draining:
                is_draining = True
                self.display.event(
                    "Stopping: trials will pause at the end of their current epoch. "
                    "Press Ctrl-C again to stop now."
                )
                journal.drain()
            if self.signals.count > 1:
                raise KeyboardInterrupt


def _ended(sweep: Sweep) -> set[str]:
    return {trial.id for trial in sweep.trials if trial.state.is_final}


def _cluster_check(experiment: Experiment, display: Display) -> Callable[[], None]:
    """Return the function that checks that the cluster still runs trials."""
    from sweeper.compat import ray as compat
    from sweeper.driver import ray_cluster

    if compat.is_head():
        return ray_cluster.check
    return NodeWatch(experiment, ray_cluster.nodes, say=display.event).look


def _findings(plan: Plan, prewarm: Prewarm) -> list[Finding]:
    """Return the findings of the target's import and of the preflight."""
    return preflight.before_run(plan, prewarm.await_import(), prewarm.zygote)

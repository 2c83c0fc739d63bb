"""`run`: drive a sweep from wherever its journal stands to its end.

The edge where signals, clocks and processes meet; it decides nothing about trials.
"""

import functools
import logging
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from sweeper import html_report
from sweeper.cards import booking
from sweeper.definition.experiment import Experiment
from sweeper.errors import LockedError, SweeperError
from sweeper.host import disk, locks
from sweeper.host.paths import SweepPaths, remove_stale_temporaries, write_text
from sweeper.planning import lengths, preflight
from sweeper.planning.plan import Plan
from sweeper.running import opening
from sweeper.running.ahead import Ahead
from sweeper.running.diary import Diary
from sweeper.running.node_watch import NodeWatch
from sweeper.running.options import ClusterOptions
from sweeper.running.signals import POLL_SECONDS, Signals, StoppedError, submit
from sweeper.scheduling import halt, spec
from sweeper.statistics import leaderboard
from sweeper.stop import Stop, StopReason
from sweeper.storage import export, replacement, retention, store
from sweeper.trial import Sweep
from sweeper.views.live import Display

if TYPE_CHECKING:
    from sweeper.running.remote import RemoteJournal

log = logging.getLogger(__name__)


def drive(
    plan: Plan,
    *,
    ahead: Ahead,
    cluster: ClusterOptions,
    display: Display,
    may_exit: bool = False,
) -> tuple[Sweep, Stop]:
    """Run every trial that the sweep still owes, and write its tables and its report.

    Args:
        ahead: prepared for the plan's experiment.
        may_exit: whether a second signal may end this process.

    Returns:
        The sweep as it ended, and why.

    Raises:
        LockedError: another driver holds the sweep.
        AddressError: no cluster answers at the address that was given.
        ExperimentChangedError: the sweep's folder is of another experiment.
        SweeperError: an error that every trial meets.
    """
    cluster.check()
    paths = SweepPaths(plan.folder)
    for folder in store.disks(plan.experiment, paths):
        disk.wait(disk.made(folder), display.event)
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
        signals = Signals(may_exit=may_exit, is_asked=paths.stop_request.exists)
        with signals, ExitStack() as stack:
            return _drive_locked(plan, cluster, display, ahead, signals, stack)


def admit(experiment: Experiment, paths: SweepPaths) -> bool:
    """Store the experiment beside its sweep, unless the sweep is another one.

    Returns:
        Whether trials of an earlier start, none of which has a result, were removed.

    Raises:
        ExperimentChangedError: what may not change has changed.
    """
    remove_stale_temporaries(paths.folder)
    paths.stop_request.unlink(missing_ok=True)
    is_replaced = replacement.is_replaced(experiment, paths)
    if is_replaced:
        replacement.discard(paths)
    store.save_experiment(experiment, paths)
    spec.relocate(paths, experiment)
    return is_replaced


def _drive_locked(
    plan: Plan,
    options: ClusterOptions,
    display: Display,
    ahead: Ahead,
    signals: Signals,
    stack: ExitStack,
) -> tuple[Sweep, Stop]:
    from sweeper.running import placement, ray_node

    started = submit(
        functools.partial(ray_node.start, options, scratch=ahead.zygote.parent),
        is_kept=True,
    )
    looked = submit(functools.partial(_look, plan, ahead))
    try:
        try:
            opening.await_ray(started, options, signals=signals)
            booked = booking.book(plan.experiment, count=ray_node.own_cards())
            for other in stack.enter_context(booked):
                display.event(booking.warning(other))
            journal = opening.open_journal(plan, signals=signals, display=display)
        except StoppedError:
            return opening.stopped_early(plan, started)
        # Slots start meanwhile, and wait: it takes them as long.
        fit = submit(
            functools.partial(
                placement.fit,
                journal,
                experiment=plan.experiment,
                address=ahead.zygote,
            )
        )
        try:
            _admit(plan, looked, journal, signals=signals, say=display.event)
        except SweeperError:
            wait([fit], timeout=opening.LEAVE_SECONDS)
            raise
        _watch(
            plan,
            display,
            fit=fit,
            signals=signals,
            drain=journal.drain,
            count_time=journal.count_time,
            check=_checks(plan.experiment, display),
        )
        stop = opening.ask(journal.stopped_by, signals=signals, plan=plan)
        if stop.reason is StopReason.ERROR:
            raise halt.located(plan.experiment, stop.message)
        # This process still holds the lock, but nothing runs any more.
        sweep = replace(store.load_sweep(plan.folder), is_running=False)
        # While Ray stops, which is mostly waiting.
        written = submit(functools.partial(write_leaderboard, sweep))
    finally:
        if started.done():
            wait([submit(ray_node.stop)], timeout=opening.LEAVE_SECONDS)
    written.result()
    return sweep, stop


def _checks(experiment: Experiment, display: Display) -> Callable[[], None]:
    """Return what looks whether the cluster still runs trials."""
    from sweeper.running import ray_node

    if ray_node.is_ours():
        return ray_node.check
    return NodeWatch(experiment, ray_node.nodes, say=display.event).look


def _look(plan: Plan, ahead: Ahead) -> "list[preflight.Finding]":
    """Return what the import of the target and the preflight found."""
    imported = preflight.imported(plan, ahead.await_import())
    if any(finding.is_certain for finding in imported):
        return imported
    return [*imported, *preflight.before_run(plan, ahead.zygote)]


def _admit(
    plan: Plan,
    looked: "Future[list[preflight.Finding]]",
    journal: "RemoteJournal",
    *,
    signals: Signals,
    say: Callable[[str], None],
) -> None:
    """Let the slots go on, once the preflight has found nothing that speaks against it.

    Raises:
        SweeperError: it has; the slots leave.
    """
    is_fine = False
    try:
        while not wait([looked], timeout=POLL_SECONDS).done and not signals.is_asked:
            continue
        # A signal to every process ends the batches, too: they say nothing then.
        if not signals.is_asked:
            preflight.admit(plan, looked.result(), say=say)
            is_fine = True
    finally:
        if not is_fine:
            journal.drain()
        opening.ask(
            functools.partial(journal.open, is_fine), signals=signals, plan=plan
        )


def _watch(
    plan: Plan,
    display: Display,
    *,
    fit: "Future[None]",
    signals: Signals,
    drain: Callable[[], None],
    count_time: Callable[[], None],
    check: Callable[[], None],
) -> None:
    """Show what happens and obey signals until the trials have ended.

    Raises:
        ClusterLostError: Ray or the journal's process died.
    """
    reader = store.Reader(plan.experiment, plan.folder)
    paths = SweepPaths(plan.folder)
    before = reader.sweep()
    retention.remove_temporaries(before)
    retention.tidy(before)
    diary = Diary(store.disks(plan.experiment, paths), display)
    is_draining = False
    while True:
        is_over = bool(wait([fit], timeout=POLL_SECONDS).done)
        after = reader.sweep()
        diary.tell(before, after)
        before = after
        if not is_over or fit.exception() is not None:
            check()
        if is_over:
            return fit.result()
        count_time()
        if signals.is_asked and not is_draining:
            is_draining = True
            display.event("stopping: trials pause at their next epoch; again to kill")
            drain()
        if signals.count > 1:
            raise KeyboardInterrupt


def write_leaderboard(sweep: Sweep) -> None:
    """Write the derived tables and the report of a sweep to its folder."""
    rows = leaderboard.rank(sweep)
    write_text(sweep.paths.leaderboard_csv, export.to_csv(sweep, rows))
    write_text(sweep.paths.leaderboard_md, export.to_markdown(sweep, rows))
    html_report.write(sweep)

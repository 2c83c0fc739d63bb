"""`run`: drive a sweep from wherever its journal stands to its end.

The edge where signals, clocks and processes meet; it decides nothing about trials.
"""

import logging
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from sweeper import html_report
from sweeper.callbacks import wandb
from sweeper.definition.experiment import Experiment, changes
from sweeper.errors import ExperimentChangedError, LockedError, SweeperError
from sweeper.host import disk, locks
from sweeper.host.paths import SweepPaths, remove_stale_temporaries, write_text
from sweeper.planning import preflight
from sweeper.planning.plan import Plan
from sweeper.running.ahead import Ahead
from sweeper.running.diary import Diary
from sweeper.scheduling import halt, spec
from sweeper.statistics import leaderboard
from sweeper.stop import Stop, StopReason
from sweeper.storage import export, retention, store
from sweeper.trial import Sweep
from sweeper.views.live import Display

if TYPE_CHECKING:
    from sweeper.running.remote import RemoteJournal

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
LEAVE_SECONDS = 10.0
T = TypeVar("T")
_Handler = Callable[[int, FrameType | None], object] | int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Which Ray cluster to use.

    Attributes:
        address: a running cluster, "auto" for this machine's; "" starts one.
        cpus: logical cores of the cluster that is started, None for the machine's.
        gpus: logical devices of it, None for the machine's.
        card: type of its logical devices, as `packing.find_card` reads it.
    """

    address: str = ""
    cpus: int | None = None
    gpus: int | None = None
    card: str = ""


def drive(
    plan: Plan, *, ahead: Ahead, cluster: ClusterOptions, display: Display
) -> tuple[Sweep, Stop]:
    """Run every trial that the sweep still owes, and write its tables and its report.

    Args:
        ahead: prepared for the plan's experiment.

    Returns:
        The sweep as it ended, and why.

    Raises:
        LockedError: another driver holds the sweep.
        ExperimentChangedError: the sweep's folder is of another experiment.
        SweeperError: an error that every trial meets.
    """
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
        admit(plan.experiment, paths)
        return _drive_locked(plan, cluster, display, ahead)


def admit(experiment: Experiment, paths: SweepPaths) -> None:
    """Store the experiment beside its sweep, unless the sweep is another one.

    Raises:
        ExperimentChangedError: what may not change has changed.
    """
    remove_stale_temporaries(paths.folder)
    paths.stop_request.unlink(missing_ok=True)
    if paths.experiment.exists():
        stored = store.load_experiment(paths)
        differences = changes(stored, experiment)
        if differences:
            raise ExperimentChangedError(
                f"{experiment.path}: not the experiment that {paths.folder} holds:\n"
                + "\n".join(f"  {line}" for line in differences)
                + "\nundo the change, or start a new sweep: --fork NAME"
            )
    store.save_experiment(experiment, paths)
    spec.relocate(paths, experiment)


def _drive_locked(
    plan: Plan, options: ClusterOptions, display: Display, ahead: Ahead
) -> tuple[Sweep, Stop]:
    from sweeper.running import journal_actor, placement, ray_node

    thread = ThreadPoolExecutor(max_workers=2)  # never waited for: see Ctrl-C
    with _Signals() as signals:
        started = thread.submit(
            ray_node.start,
            options.address,
            options.cpus,
            options.gpus,
            scratch=ahead.template.parent,
            card=options.card,
        )
        looked = thread.submit(_look, plan, ahead)
        try:
            _await(started, check=ray_node.check)
            signals.renew()
            opened = thread.submit(
                journal_actor.open_journal,
                plan,
                wandb_mode=wandb.mode(plan.experiment.wandb.mode),
                say=display.event,
            )
            journal = _await(opened, check=ray_node.check)
            # Slots start meanwhile, and wait: it takes them as long.
            fit = thread.submit(
                placement.fit,
                journal,
                experiment=plan.experiment,
                address=ahead.template,
            )
            try:
                _admit(plan, looked, journal, signals=signals, say=display.event)
            except SweeperError:
                wait([fit], timeout=LEAVE_SECONDS)
                raise
            _watch(
                plan,
                display,
                fit=fit,
                signals=signals,
                drain=journal.drain,
                check=ray_node.check,
            )
            stop = journal.stopped_by()
            if stop.reason is StopReason.ERROR:
                raise halt.located(plan.experiment, stop.message)
            sweep = store.load_sweep(plan.folder)
            # While Ray stops, which is mostly waiting.
            written = thread.submit(write_leaderboard, sweep)
        finally:
            ray_node.stop()
    written.result()
    return sweep, stop


def _look(plan: Plan, ahead: Ahead) -> "list[preflight.Finding]":
    """Return what the import of the target and the preflight found."""
    imported = preflight.imported(plan, ahead.await_import())
    if any(finding.is_certain for finding in imported):
        return imported
    return [*imported, *preflight.before_run(plan, ahead.template)]


def _await(future: "Future[T]", *, check: Callable[[], None]) -> T:
    """The result of what Ray does, as long as Ray lives."""
    while not wait([future], timeout=POLL_SECONDS).done:
        check()
    return future.result()


def _admit(
    plan: Plan,
    looked: "Future[list[preflight.Finding]]",
    journal: "RemoteJournal",
    *,
    signals: "_Signals",
    say: Callable[[str], None],
) -> None:
    """Let the slots go on, once the preflight has found nothing that speaks against it.

    Raises:
        SweeperError: it has; the slots leave.
    """
    is_fine = False
    try:
        if _is_ready(looked, plan, signals):
            preflight.admit(plan, looked.result(), say=say)
            is_fine = True
    finally:
        if not is_fine:
            journal.drain()
        journal.open(is_fine)


def _is_ready(
    looked: "Future[list[preflight.Finding]]", plan: Plan, signals: "_Signals"
) -> bool:
    """Whether the preflight came to its end before somebody stopped the sweep."""
    request = SweepPaths(plan.folder).stop_request
    while not wait([looked], timeout=POLL_SECONDS).done:
        if signals.count > 0 or request.exists():
            return False
    return True


def _watch(
    plan: Plan,
    display: Display,
    *,
    fit: "Future[None]",
    signals: "_Signals",
    drain: Callable[[], None],
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
        is_asked = signals.count > 0 or paths.stop_request.exists()
        if is_asked and not is_draining:
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


class _Signals:
    """Counts SIGINT and SIGTERM while it is entered."""

    count = 0

    def __enter__(self) -> "_Signals":
        self._before = self.renew()
        return self

    def renew(self) -> "dict[signal.Signals, _Handler]":
        """Put the handlers in place; those that were there.

        Ray's start puts one of its own on SIGTERM, which dumps stacks, passes the
        signal on, and sets an alarm that aborts the process three seconds later.
        """
        return {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGINT, signal.SIGTERM)
        }

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        signal.alarm(0)  # Ray's, of a SIGTERM that came while it started
        self.count += 1

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

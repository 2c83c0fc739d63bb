"""The waits of a driver for Ray and for the journal; each has a limit and a message."""

import functools
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, TypeVar

from sweeper.callbacks import wandb
from sweeper.errors import AddressError
from sweeper.host import disk
from sweeper.planning.plan import Plan
from sweeper.running.options import ClusterOptions
from sweeper.running.signals import Signals, await_result, submit, too_late
from sweeper.stop import Stop, StopReason
from sweeper.storage import store
from sweeper.trial import Sweep
from sweeper.views.live import Display

if TYPE_CHECKING:
    from sweeper.running.remote import RemoteJournal

LEAVE_SECONDS = 10.0
START_SECONDS = 300.0  # for Ray to start; it takes 2 to 7
CONNECT_SECONDS = 60.0  # for a cluster to answer
OPEN_SECONDS = 900.0  # for the journal to open; memory is predicted before
ANSWER_SECONDS = 300.0  # for the journal to answer
T = TypeVar("T")


def await_ray(
    started: "Future[None]", options: ClusterOptions, *, signals: Signals
) -> None:
    """Wait until this process is connected to Ray.

    Raises:
        StoppedError: the sweep is to stop.
        AddressError: what listens at the address does not answer as Ray does.
    """
    from sweeper.running import ray_node

    is_ours = not options.resolved()
    seconds = START_SECONDS if is_ours else CONNECT_SECONDS
    late = too_late("Ray's start", seconds)
    if not is_ours:
        late = functools.partial(
            AddressError,
            f"{options.place()}: no Ray cluster answers there within {seconds:g} s; "
            "is it another service, or is the cluster about to end?",
        )
    await_result(
        started, signals=signals, seconds=seconds, late=late, check=ray_node.check
    )
    signals.renew()


def open_journal(plan: Plan, *, signals: Signals, display: Display) -> "RemoteJournal":
    """Return the sweep's journal.

    Raises:
        StoppedError: the sweep is to stop; no slot was asked for.
    """
    from sweeper.running import journal_actor, ray_node

    opened = submit(
        functools.partial(
            journal_actor.open_journal,
            plan,
            wandb_mode=wandb.mode(plan.experiment.wandb.mode),
            say=display.event,
        )
    )
    return await_result(
        opened,
        signals=signals,
        seconds=OPEN_SECONDS,
        late=too_late("opening the journal", OPEN_SECONDS),
        check=ray_node.check,
        is_excused=lambda: bool(disk.problem(plan.folder)),
    )


def stopped_early(plan: Plan, started: "Future[None]") -> tuple[Sweep, Stop]:
    """Return the sweep as it was; Ray's start can be left, but not ended halfway."""
    if not wait([started], timeout=LEAVE_SECONDS).done:
        raise KeyboardInterrupt
    return store.load_sweep(plan.folder), Stop(reason=StopReason.INTERRUPTED)


def ask(call: Callable[[], T], *, signals: Signals, plan: Plan) -> T:
    """Return the journal's answer; only a second signal ends the wait for it."""
    from sweeper.running import ray_node

    return await_result(
        submit(call),
        signals=signals,
        seconds=ANSWER_SECONDS,
        late=too_late("an answer of the journal", ANSWER_SECONDS),
        check=ray_node.check,
        is_excused=lambda: bool(disk.problem(plan.folder)),
        is_stoppable=False,
    )

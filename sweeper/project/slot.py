"""A slot: runs one trial after another, each in a process forked for it.

It relays between that process and the journal, which decides.
"""

import contextlib
import functools
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from sweeper import protocol
from sweeper.journal.record import Demand, Failure, State, Stop, StopReason
from sweeper.system import disk
from sweeper.trial import endings

STOP_SECONDS = 5.0  # for the journal to hear that the sweep is stopped
POLL_SECONDS = 0.1
EXIT_SECONDS = 60.0  # for threads and exit handlers of a trial that has ended


class JournalClient(Protocol):
    """The part of the journal that a slot calls, in this process or through Ray."""

    def claim(self, slot: str, demand: Demand | None = None) -> Demand | None: ...
    def start(self, slot: str, card: str = "") -> protocol.TrialSpec: ...
    def report(self, slot: str, report: protocol.Report) -> protocol.Decision: ...
    def finish(self, slot: str) -> State: ...
    def fail(self, slot: str, failure: Failure) -> State: ...
    def pause(self, slot: str) -> None: ...
    def abort(self, slot: str, message: str) -> None: ...
    def stopped_by(self) -> Stop: ...


def run(
    slot: str,
    journal: JournalClient,
    *,
    demand: Demand,
    connect: Callable[[], protocol.Client],
    env: Mapping[str, str],
    card: str = "",
) -> None:
    """Run the claimed trial, then every further one of the same demand.

    The process of the next trial imports and composes while the last one leaves.

    Args:
        slot: name of this slot; it has claimed a trial.
        demand: resources of the slot.
        connect: opens a connection to the node's zygote.
        env: environment of the slot's device, such as CUDA_VISIBLE_DEVICES.
        card: its type, "" without one or if it is unknown.
    """
    processes: list[Process] = []
    try:
        while True:
            spec = journal.start(slot, card)
            processes.append(process := Process(spec, connect(), env=env))
            for last in processes[:-1]:
                last.await_exit()
            processes = [process]
            ended = process.relay(functools.partial(journal.report, slot))
            if ended == -signal.SIGTERM and _is_stopped(journal):
                ended = protocol.Ended(event="paused")
            settle(slot, journal, ended=ended, step=process.epoch)
            if journal.claim(slot, demand) is None:
                process.await_exit()
                return
    finally:
        for process in processes:
            process.close()


def run_alone(
    spec: protocol.TrialSpec,
    zygote: protocol.Client,
    *,
    decide: Callable[[protocol.Report], protocol.Decision],
    env: Mapping[str, str],
) -> protocol.Ended:
    """Run one trial without a journal; return how it ended."""
    with contextlib.closing(Process(spec, zygote, env=env)) as process:
        ended = process.relay(decide)
        process.await_exit()
    return endings.of_exit(ended) if isinstance(ended, int) else ended


class Process:
    """The process of one trial.

    Args:
        zygote: a connection of its own to the zygote that forks it.
        env: environment variables of its device.
    """

    def __init__(
        self,
        spec: protocol.TrialSpec,
        zygote: protocol.Client,
        *,
        env: Mapping[str, str],
    ) -> None:
        self._spec = spec
        self._zygote = zygote
        self._server = protocol.Server()
        self._ended: protocol.Ended | None = None
        self.epoch = 0
        zygote.tell(protocol.Run(spec=spec, env=env, address=self._server.address))

    def relay(
        self, report: Callable[[protocol.Report], protocol.Decision]
    ) -> protocol.Ended | int:
        """Relay reports until the process has done all of its work.

        Returns:
            Its own words on its end, or the exit status of one that has said nothing.
        """
        limit = self._spec.timeout_seconds
        while True:
            messages, others = self._server.wait(self._zygote, seconds=limit)
            for peer, message in messages:
                match message:
                    case protocol.Ready():
                        peer.answer(protocol.Go())
                    case protocol.Report():
                        peer.answer(protocol.Answer(decision=report(message)))
                        self.epoch = message.epoch
                    case protocol.Ended():
                        self._ended, limit = message, EXIT_SECONDS
                    case protocol.Left() if self._ended is not None:
                        return self._ended
            if others:
                code = self._exit_code()
                return code if self._ended is None else self._ended
            if not messages and not self._is_excused():
                return self._end_silent(limit)

    def _is_excused(self) -> bool:
        """Return whether a full disk keeps the process silent."""
        return self._ended is None and bool(disk.problem(Path(self._spec.folder)))

    def _end_silent(self, limit: float | None) -> protocol.Ended:
        """Kill a process that was silent for too long.

        One that has said how it ended is only in the way.
        """
        self._zygote.tell(protocol.Kill())
        self.await_exit()
        return self._ended or protocol.Ended(
            event="failed",
            kind=protocol.FailureKind.TIMEOUT,
            message=f"no report for {limit:g} s (timeout); log.txt shows where it hung",
        )

    def await_exit(self) -> None:
        """Wait until the process is dead."""
        self._exit_code()
        self.close()

    def _exit_code(self) -> int:
        with contextlib.suppress(OSError):  # closed before
            exited = self._zygote.receive()
            if isinstance(exited, protocol.Exited):
                return exited.code
        return -int(signal.SIGKILL)  # with the zygote

    def close(self) -> None:
        """Have the zygote kill the process if it still lives."""
        self._zygote.close()
        self._server.close()


def settle(
    slot: str, journal: JournalClient, *, ended: protocol.Ended | int, step: int
) -> None:
    """Record how an attempt ended.

    Args:
        ended: the words of its process, or its exit status, -N for signal N.
        step: the last epoch that it reported.
    """
    if isinstance(ended, int):
        ended = endings.of_exit(ended)
    match ended.event:
        case "finished":
            journal.finish(slot)
        case "paused":
            journal.pause(slot)
        case "fatal":
            journal.abort(slot, ended.message)
        case _:
            failure = Failure(
                kind=protocol.FailureKind(ended.kind),
                message=ended.message,
                step=step,
                traceback=ended.traceback,
            )
            journal.fail(slot, failure)


def _is_stopped(journal: JournalClient) -> bool:
    """Return whether the sweep is being stopped, by a signal that met the trial, too.

    systemd and scancel send SIGTERM to every process: that the trial died of it may be
    known here before the driver has stopped the journal.
    """
    deadline = time.monotonic() + STOP_SECONDS
    while journal.stopped_by().reason is StopReason.NONE:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True

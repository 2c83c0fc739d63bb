"""A slot, which runs one trial after another, each in a new forked process.

It passes messages between that process and the journal, which makes the decisions.
"""

import contextlib
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from sweeper import protocol
from sweeper.journal.record import StopReason
from sweeper.system import disk
from sweeper.trial import endings

STOP_SECONDS = 5.0  # for the driver to stop the journal after a signal
POLL_SECONDS = 0.1
EXIT_SECONDS = 60.0  # for threads and exit handlers at the end of a trial


class Method(Protocol):
    """A method of an actor; it returns an object for `ray.get`."""

    def remote(self, *arguments: object) -> object: ...


class JournalActor(Protocol):
    """The methods of the journal's actor that a slot calls."""

    start: Method
    report: Method
    end: Method
    stopped_by: Method


def run(
    slot: str,
    journal: JournalActor,
    *,
    wait: Callable[[Any], Any],  # an answer of any type
    connect: Callable[[], protocol.Client],
    env: Mapping[str, str],
    card: str = "",
) -> None:
    """Run the claimed trial, then further trials of the same demand.

    The process of the next trial imports and composes while the last one exits.

    Args:
        slot: name of this slot, which has claimed a trial.
        wait: returns the answer to a call of the journal, as `ray.get` does.
        connect: opens a connection to the node's zygote.
        env: environment of the slot's device, such as CUDA_VISIBLE_DEVICES.
        card: type of the slot's card, "" if it has none or the type is unknown.
    """
    processes: list[Process] = []
    try:
        spec = wait(journal.start.remote(slot, card))
        while spec is not None:
            process = Process(spec, connect(), env=env)
            processes.append(process)
            for last in processes[:-1]:
                last.await_exit()
            processes = [process]
            for report in process.reports():
                process.answer(wait(journal.report.remote(slot, report)))
            ended = process.ended
            if process.is_terminated and _is_stopped(journal, wait):
                ended = protocol.Ended(event="paused")
            spec = wait(journal.end.remote(slot, ended, card))
        process.await_exit()
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
    """Run one trial without a journal; return the message of its end."""
    with contextlib.closing(Process(spec, zygote, env=env)) as process:
        for report in process.reports():
            process.answer(decide(report))
        process.await_exit()
    return process.ended


class Process:
    """The process of one trial.

    Args:
        zygote: a connection to the zygote that forks it, used by this process only.
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
        self._reporter: protocol.Peer | None = None  # waits for an answer
        self._ended: protocol.Ended | None = None  # as reported by the process
        self._code: int | None = None  # exit status, -N for signal N
        zygote.tell(protocol.Run(spec=spec, env=env, address=self._server.address))

    def reports(self) -> Iterator[protocol.Report]:
        """Yield each report until the process has finished its work.

        Call `answer` before requesting the next report.
        """
        limit = self._spec.timeout_seconds
        while True:
            messages, exited = self._server.wait(self._zygote, seconds=limit)
            for peer, message in messages:
                match message:
                    case protocol.Ready():
                        peer.answer(protocol.Go())
                    case protocol.Report():
                        self._reporter = peer
                        yield message
                    case protocol.Ended():
                        self._ended, limit = message, EXIT_SECONDS
                    case protocol.Left() if self._ended is not None:
                        return
            if exited:
                self._receive_code()
                return
            if not messages and not self._is_excused():
                self._kill()
                self._ended = self._ended or protocol.Ended(
                    event="failed",
                    kind=protocol.FailureKind.TIMEOUT,
                    message=f"no report for {limit:g} s (timeout); log.txt shows "
                    "where it hung",
                )
                return

    def answer(self, decision: protocol.Decision) -> None:
        """Answer the last report."""
        assert self._reporter is not None  # noqa: S101  # it has just reported
        self._reporter.answer(protocol.Answer(decision=decision))

    @property
    def ended(self) -> protocol.Ended:
        """The end of the trial, as the process reported it or from its exit status."""
        return self._ended or endings.of_exit(self._code or 0)

    @property
    def is_terminated(self) -> bool:
        """Whether SIGTERM ended the process before it reported its end."""
        return self._ended is None and self._code == -signal.SIGTERM

    def _is_excused(self) -> bool:
        """Return whether a full disk keeps the process silent."""
        return self._ended is None and bool(disk.problem(Path(self._spec.folder)))

    def _kill(self) -> None:
        """Have the zygote write the stacks of the process to its log and kill it."""
        self._zygote.tell(protocol.Kill())
        self._receive_code()

    def await_exit(self) -> None:
        """Wait until the process is dead; kill it if it takes too long to exit."""
        if self._code is None:
            if select.select([self._zygote], [], [], EXIT_SECONDS)[0]:
                self._receive_code()
            else:
                self._kill()
        self.close()

    def _receive_code(self) -> None:
        exited = self._zygote.receive()
        if isinstance(exited, protocol.Exited):
            self._code = exited.code
        else:
            self._code = -signal.SIGKILL  # it died with the zygote

    def close(self) -> None:
        """Have the zygote kill the process if it still lives."""
        self._zygote.close()
        self._server.close()


def _is_stopped(journal: JournalActor, wait: Callable[[Any], Any]) -> bool:
    """Return whether the sweep is stopping, by a signal that also ended the trial.

    systemd and scancel send SIGTERM to every process. The death of the trial may be
    noticed here before the driver has stopped the journal, so this waits a little.
    """
    deadline = time.monotonic() + STOP_SECONDS
    while wait(journal.stopped_by.remote()).reason is StopReason.NONE:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True

"""SIGINT and SIGTERM in a driver, and waits that end with them."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from types import FrameType
from typing import TypeVar

from sweeper import exit_codes

POLL_SECONDS = 0.25
SAME_SECONDS = 0.1  # `timeout` signals its child and then the child's group
LEAVE_SECONDS = 5.0  # after the second signal, before the process is ended
T = TypeVar("T")
_Handler = Callable[[int, FrameType | None], object] | int | None


class StoppedError(Exception):
    """A signal or a request to stop ended a wait; nothing had started by then."""


class Signals:
    """Counts SIGINT and SIGTERM while it is entered.

    Python's own handlers run between two steps of the main thread: two signals that
    arrive during one long call are one to them. A thread reads each signal as the
    kernel delivers it. At the second one it gives the main thread some seconds to
    leave, then ends the process, whatever that waits for.

    Args:
        may_exit: whether it may end this process; a notebook's is not the driver's own.
        is_asked: returns whether `sweeper stop` has requested the stop.
    """

    def __init__(self, *, may_exit: bool, is_asked: Callable[[], bool]) -> None:
        self.count = 0
        self._may_exit = may_exit
        self._is_asked = is_asked
        self._before: dict[signal.Signals, _Handler] = {}
        self._last = float("-inf")

    @property
    def is_asked(self) -> bool:
        """Whether a signal or `sweeper stop` has requested the stop."""
        return self.count > 0 or self._is_asked()

    def __enter__(self) -> "Signals":
        self._is_main = threading.current_thread() is threading.main_thread()
        if self._is_main:  # elsewhere Python lets nobody handle signals
            self._read, self._write = os.pipe()
            os.set_blocking(self._write, False)
            self._fd_before = signal.set_wakeup_fd(self._write)
            self._before = self.renew()
            threading.Thread(target=self._listen, daemon=True).start()
        return self

    def renew(self) -> "dict[signal.Signals, _Handler]":
        """Put the handlers in place; return those that were there.

        Ray's start puts one of its own on SIGTERM, which dumps stacks, passes the
        signal on, and sets an alarm that aborts the process three seconds later.
        """
        if not self._is_main:
            return {}
        return {
            number: signal.signal(number, lambda *_: None)
            for number in (signal.SIGINT, signal.SIGTERM)
        }

    def __exit__(self, *_: object) -> None:
        if self._is_main:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._fd_before)
            os.close(self._write)  # which ends the thread

    def _listen(self) -> None:
        while data := os.read(self._read, 1):
            if data[0] in (signal.SIGINT, signal.SIGTERM):
                signal.alarm(0)  # Ray's, of a SIGTERM that came while it started
                self._add(time.monotonic())
        os.close(self._read)

    def _add(self, now: float) -> None:
        """Count a signal, unless it belongs to the one before it."""
        is_same = now - self._last < SAME_SECONDS
        self._last = now
        if is_same:
            return
        self.count += 1
        if self.count == 2 and self._may_exit:
            timer = threading.Timer(LEAVE_SECONDS, _leave)
            timer.daemon = True
            timer.start()


def _leave() -> None:
    """End the process from a thread; the zygote ends all that it started."""
    os.write(sys.stderr.fileno(), b"interrupted\n")
    os._exit(exit_codes.INTERRUPTED)


def submit(call: Callable[[], T], *, is_kept: bool = False) -> "Future[T]":
    """Call a function in a thread that the end of this process does not wait for.

    Args:
        is_kept: whether the thread outlives the call. Linux ends Ray's processes with
            the thread that started them.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # handed to whoever waits for the result
            future.set_exception(error)
        if is_kept:
            threading.Event().wait()

    threading.Thread(target=run, daemon=True).start()
    return future


def await_result(
    future: "Future[T]",
    *,
    signals: Signals,
    seconds: float,
    late: Exception,
    check: Callable[[], None] = lambda: None,
    is_excused: Callable[[], bool] = lambda: False,
    is_stoppable: bool = True,
) -> T:
    """Return the result of a thread, unless the sweep is stopped meanwhile.

    Args:
        seconds: longest wait.
        late: error of a longer wait.
        check: raises an error if the wait has become pointless.
        is_excused: returns whether the limit is suspended, as on a full disk.
        is_stoppable: whether the first signal ends the wait, not only the second.

    Raises:
        StoppedError: the sweep is to stop.
    """
    deadline = time.monotonic() + seconds
    while not wait([future], timeout=POLL_SECONDS).done:
        if signals.count > 1:
            raise KeyboardInterrupt
        if is_stoppable and signals.is_asked:
            raise StoppedError
        check()
        if time.monotonic() > deadline:
            if not is_excused():
                raise late
            deadline = time.monotonic() + seconds
    if is_stoppable and signals.is_asked:  # what it waited for may have ended of it
        raise StoppedError
    return future.result()

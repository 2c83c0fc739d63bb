"""SIGINT and SIGTERM in a driver, and waits that they interrupt."""

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
LEAVE_SECONDS = 5.0  # from the second signal to the end of the process
T = TypeVar("T")
_Handler = Callable[[int, FrameType | None], object] | int | None


class StoppedError(Exception):
    """A wait that a signal or a request to stop has ended."""


class Signals:
    """The count of SIGINT and SIGTERM within a `with` block.

    Python's handlers run between two steps of the main thread, so they see two signals
    during one long call as one. A thread therefore reads each signal as the kernel
    delivers it. After the second one it gives the main thread some seconds to exit,
    then ends the process.

    Args:
        may_exit: whether to end this process; False in a notebook.
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
        if self._is_main:  # only there Python allows signal handlers
            self._read, self._write = os.pipe()
            os.set_blocking(self._write, False)
            self._fd_before = signal.set_wakeup_fd(self._write)
            self._before = self.renew()
            threading.Thread(target=self._listen, daemon=True).start()
        return self

    def renew(self) -> "dict[signal.Signals, _Handler]":
        """Install the handlers; return the previous ones.

        Ray's start installs a handler of SIGTERM that dumps stacks, forwards the
        signal, and sets an alarm that aborts the process three seconds later.
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
            os.close(self._write)  # this ends the thread

    def _listen(self) -> None:
        while data := os.read(self._read, 1):
            if data[0] in (signal.SIGINT, signal.SIGTERM):
                signal.alarm(0)  # cancel Ray's alarm, set by a SIGTERM during its start
                self._add(time.monotonic())
        os.close(self._read)

    def _add(self, now: float) -> None:
        """Count a signal, unless it is a repetition within `SAME_SECONDS`."""
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
    """End the process from a thread; the zygote ends its child processes."""
    os.write(sys.stderr.fileno(), b"interrupted\n")
    os._exit(exit_codes.INTERRUPTED)


def submit(call: Callable[[], T], *, is_kept: bool = False) -> "Future[T]":
    """Call a function in a daemon thread.

    Args:
        is_kept: whether the thread outlives the call. Linux ends Ray's processes when
            the thread that started them ends.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # raised again by `result`
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
    """Return the result of a thread, unless the user stops the sweep first.

    Args:
        seconds: longest wait.
        late: the error to raise after a longer wait.
        check: raises an error if waiting has become pointless.
        is_excused: returns whether the limit is suspended, as on a full disk.
        is_stoppable: whether the first signal ends the wait, not only the second.

    Raises:
        StoppedError: the user stops the sweep.
        KeyboardInterrupt: a second signal arrived.
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
    if is_stoppable and signals.is_asked:  # the result may be an error due to the stop
        raise StoppedError
    return future.result()

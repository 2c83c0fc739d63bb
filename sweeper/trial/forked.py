"""Processes that the zygote forks: their signals, their group, their end."""

import contextlib
import ctypes
import faulthandler
import os
import signal
import time
import weakref

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
STACK_SIGNAL = signal.SIGRTMIN + 11  # no project is likely to use it
STACK_SECONDS = 0.5  # that a process has to write its stacks


def begin() -> None:
    """Make a forked process one of its own; it dies with its parent."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGIO):
        signal.signal(number, signal.SIG_DFL)
    # What the parent made goes with the parent: its temporary folders, and torch's
    # libraries, which take 40 ms to take apart.
    vars(weakref.finalize)["_registry"].clear()


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents die, sessions and all.

    A trial's process keeps them below itself; the zygote gets them when the trial is
    dead, so that nothing of a trial can hide.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def restore_signals() -> None:
    """Give a forked process a new interpreter's signal handlers, but for SIGTERM."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _die)
    # A zygote below a Ray worker inherits that the signal is blocked.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _die(number: int, frame: object) -> None:
    """Die of a signal at once, as by default.

    It is a handler all the same: Lightning calls one that is there already; otherwise
    it would train to the end of the batch and leave with a plain SystemExit. A child
    that a trial forks inherits it, and dies alike.
    """
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def kill_group(pid: int) -> None:
    """Kill what is left of a process's group, such as loader workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def enable_stacks() -> None:
    """Have this process write its threads' stacks when `dump_stacks` asks for them.

    A timer of `faulthandler` would be a thread: a process that is forked later waits
    forever for the end of a thread that it does not have.
    """
    faulthandler.enable()
    faulthandler.register(STACK_SIGNAL, all_threads=True)


def dump_stacks(pid: int) -> None:
    """Have a process that called `enable_stacks` write where it hangs."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, STACK_SIGNAL)
        time.sleep(STACK_SECONDS)

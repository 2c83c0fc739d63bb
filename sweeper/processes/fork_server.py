"""A process that forks another one for each connection to its socket.

It never starts a thread: what it has imported is there in each child at once, in pages
that all of them share. The last line that it sends on a connection,
`{"event": "exit"}`, is its own, after the child was reaped.
"""

import contextlib
import ctypes
import faulthandler
import json
import os
import select
import signal
import socket
import time
import traceback
import weakref
from collections.abc import Callable

from sweeper.host import orphans, process

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
STACK_SIGNAL = signal.SIGRTMIN + 11  # no project is likely to use it
STACK_SECONDS = 0.5  # that a process has to write its stacks


def die_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when its parent dies."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents die, sessions and all.

    That of a trial's process keeps them below it; the template's then gets them when
    the trial is dead, so that nothing of a trial can hide.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def kill_group(pid: int) -> None:
    """Kill what is left of a trial's process group, such as loader workers."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def enable_stacks() -> None:
    """Have this process write its threads' stacks when `dump_stacks` asks for them.

    A timer of `faulthandler` would be a thread: a process that is forked later waits
    for ever for the end of a thread that it does not have.
    """
    faulthandler.register(STACK_SIGNAL, all_threads=True)


def dump_stacks(pid: int) -> None:
    """Have a process that called `enable_stacks` write where it hangs."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, STACK_SIGNAL)
        time.sleep(STACK_SECONDS)


def _die(number: int, frame: object) -> None:
    """Die of a signal at once, as by default.

    A handler all the same: Lightning calls one that is there already, and would go on
    to the end of the batch and leave with a plain SystemExit otherwise. A child that
    a trial forks inherits it, and dies alike.
    """
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def restore_signals() -> None:
    """Give a forked process a new interpreter's signal handlers, but for SIGTERM."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _die)
    # A template below a Ray worker inherits that the signal is blocked.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


class ForkServer:
    """The listening loop: accept, fork, reap.

    Args:
        listener: where clients connect; a client that leaves ends its child.
        serve: what a forked child does with its connection.
    """

    def __init__(
        self, listener: socket.socket, serve: Callable[[socket.socket], None]
    ) -> None:
        self._listener = listener
        self._serve = serve
        self._children: dict[int, socket.socket] = {}
        self._helpers = set(orphans.children(os.getpid()))  # of what was imported
        self._wake_read, self._wake_write = os.pipe()
        self._poll = select.poll()

    def run(self) -> None:
        """Serve until killed; the trials die with it."""
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for source in (self._listener.fileno(), self._wake_read):
            self._poll.register(source, select.POLLIN)
        while True:
            ready = dict(self._poll.poll())
            has_ended = ready.pop(self._wake_read, 0)
            has_client = ready.pop(self._listener.fileno(), 0)
            # In this order: reaping closes connections, accepting reuses their numbers.
            for source, events in ready.items():
                self._hang_up(source, has_left=bool(events & select.POLLHUP))
            if has_ended:
                os.read(self._wake_read, 1024)
                self._reap()
            if has_client:
                self._fork()

    def _fork(self) -> None:
        connection, _ = self._listener.accept()
        pid = os.fork()
        if pid == 0:
            self._become_trial(connection)
        self._children[pid] = connection
        # Data is the child's to read; that the slot has left is ours to notice, as
        # a child that hangs would not.
        self._poll.register(connection.fileno(), select.POLLRDHUP)

    def _hang_up(self, source: int, *, has_left: bool) -> None:
        """Kill the trial of a connection that its slot has closed.

        Args:
            has_left: whether the slot is gone; if it has only stopped writing, the
                trial was silent for too long, and its log gets the stacks first.
        """
        for pid, connection in self._children.items():
            if connection.fileno() == source:
                self._poll.unregister(source)
                if not has_left:
                    dump_stacks(pid)
                kill_group(pid)

    def _become_trial(self, connection: socket.socket) -> None:
        """The child's whole life, to an exit as an interpreter's own."""
        os.setpgid(0, 0)
        die_with_parent()
        adopt_orphans()
        # What the parent made goes with the parent: its temporary folders, and torch's
        # libraries, which take 40 ms to take apart.
        vars(weakref.finalize)["_registry"].clear()
        restore_signals()
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._listener.close()
        for other in self._children.values():
            other.close()
        try:
            self._serve(connection)
        except BaseException:  # the one edge of a forked process
            traceback.print_exc()
            process.leave(1)
        process.leave(0)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):  # none is left
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = found
                if pid in self._children:
                    self._say_exit(pid, os.waitstatus_to_exitcode(status))
        self._kill_orphans()

    def _say_exit(self, pid: int, code: int) -> None:
        kill_group(pid)
        self._kill_orphans()
        connection = self._children.pop(pid)
        with contextlib.suppress(KeyError):  # _hang_up was first
            self._poll.unregister(connection.fileno())
        line = json.dumps({"event": "exit", "code": code}) + "\n"
        with connection, contextlib.suppress(OSError):  # the slot left first
            connection.sendall(line.encode())

    def _kill_orphans(self) -> None:
        """End what a dead trial left: children of ours that we did not fork."""
        for pid in orphans.children(os.getpid()):
            is_ours = pid in self._children or pid in self._helpers
            if not is_ours and not orphans.is_wandb(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

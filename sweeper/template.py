"""One warm process a node that forks every trial, imports already done.

It imports and forks; it never starts a thread, a GPU context or a training. Its
life hangs on its standard input: at end of file it kills its trials, ends what else
its owner left behind, and leaves.

A connection to its socket is one trial. Lines of JSON go both ways between the
client (a slot) and the forked child; the last line, `{"event": "exit"}`, is the
template's own, after the child was reaped.
"""

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sweeper import strays

PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 2.0
PRELOADED = ("torch", "lightning.pytorch", "torchvision", "sweeper.child")


def launch(address: Path, *, project: Path, target: str) -> subprocess.Popen[bytes]:
    """Start a template that listens at `address` and lives as long as we do."""
    command = [sys.executable, "-m", "sweeper.template", str(address)]
    command += [str(project), target]
    return subprocess.Popen(command, stdin=subprocess.PIPE, cwd=project)


def connect(address: Path) -> socket.socket:
    """A connection to the template at `address`: a trial's channel.

    Raises:
        OSError: nobody listens there.
    """
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.connect(str(address))
    except OSError:
        client.close()
        raise
    return client


def die_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when its parent dies."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def kill_group(pid: int) -> None:
    """Kill what is left of a trial's process group, such as loader workers."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


class Template:
    """The listening loop: accept, fork, reap.

    Args:
        listener: where slots connect.
        serve: what a forked child does with its connection.
    """

    def __init__(
        self, listener: socket.socket, serve: Callable[[socket.socket], None]
    ) -> None:
        self._listener = listener
        self._serve = serve
        self._children: dict[int, socket.socket] = {}
        self._wake_read, self._wake_write = os.pipe()
        self._poll = select.poll()

    def run(self) -> None:
        """Serve until standard input ends.

        What is then left to the caller is to end the trials: they die with it.
        """
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        owner = sys.stdin.fileno()
        for source in (self._listener.fileno(), self._wake_read, owner):
            self._poll.register(source, select.POLLIN)
        while True:
            for source, _ in self._poll.poll():
                if source == owner:
                    return
                if source == self._wake_read:
                    os.read(self._wake_read, 1024)
                    self._reap()
                elif source == self._listener.fileno():
                    self._fork()
                else:
                    self._hang_up(source)

    def _fork(self) -> None:
        connection, _ = self._listener.accept()
        pid = os.fork()
        if pid == 0:
            self._become_trial(connection)
        self._children[pid] = connection
        # Data is the child's to read; that the slot has left is ours to notice, as
        # a child that hangs would not.
        self._poll.register(connection.fileno(), select.POLLRDHUP)

    def _hang_up(self, source: int) -> None:
        self._poll.unregister(source)
        for pid, connection in self._children.items():
            if connection.fileno() == source:
                kill_group(pid)

    def _become_trial(self, connection: socket.socket) -> None:
        """The child's whole life; it never returns to the loop."""
        os.setpgid(0, 0)
        die_with_parent()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._listener.close()
        for other in self._children.values():
            other.close()
        os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
        code = 1
        try:
            self._serve(connection)
            code = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            kill_group(pid)
            connection = self._children.pop(pid)
            with contextlib.suppress(KeyError):  # _hang_up was first
                self._poll.unregister(connection.fileno())
            code = os.waitstatus_to_exitcode(status)
            line = json.dumps({"event": "exit", "code": code}) + "\n"
            with connection, contextlib.suppress(OSError):  # the slot left first
                connection.sendall(line.encode())


def is_orphan() -> bool:
    """Whether standard input has ended."""
    ready, _, _ = select.select([sys.stdin.fileno()], [], [], 0)
    return bool(ready)


def preload(modules: Sequence[str], target: str) -> None:
    """Import what every trial needs; what fails here fails again in the trial."""
    for name in (*modules, target.partition(":")[0]):
        if is_orphan():
            return
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"template: {name} is not preloaded: {error}", file=sys.stderr)


def main(arguments: Sequence[str]) -> None:
    """`python -m sweeper.template ADDRESS PROJECT TARGET`."""
    address, project, target = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.path.insert(0, project)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(64)
    preload(PRELOADED, target)
    child = importlib.import_module("sweeper.child")
    Template(listener, child.serve).run()
    strays.end(Path(address).parent, grace_seconds=GRACE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1:])

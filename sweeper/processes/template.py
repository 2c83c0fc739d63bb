"""One warm process a node that forks every trial, imports already done.

It imports and forks; it never starts a thread, a GPU context or a training. A guard
in front of it, with nothing imported, waits for the end of its standard input: then
the owner is dead or done, and all that the owner started ends with the template.

A connection to its socket is one trial. Lines of JSON go both ways between the
client (a slot) and the forked child; the last line, `{"event": "exit"}`, is the
template's own, after the child was reaped.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sweeper.definition.sources import is_program, put_on_path
from sweeper.host import leaving, strays

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 2.0
POLL_SECONDS = 0.05
WARMING = "a: {b: 1, c: x, d: [1, 2], e: 0.1}\nf: ${a.b}\n"
WARMING_OVERRIDES = ("a.b=2", "a.c='y z'", "+g=[1,{h: -1e-3}]", "++i.j=null", "~f")
PRELOADED = (
    "torch",
    "lightning.pytorch",
    "torchvision",
    "wandb",
    "sweeper.processes.child",
)


def launch(address: Path, *, project: Path, target: str) -> subprocess.Popen[bytes]:
    """Start a template that listens at `address` and lives as long as we do.

    Args:
        address: socket, in the scratch folder that marks this owner's processes.
        project: put on the import path.
        target: "module:function"; its module is imported, too.
    """
    command = [sys.executable, "-m", "sweeper.processes.template", str(address)]
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


def await_start(address: Path, seconds: float) -> socket.socket:
    """The same, of a template that has only just been launched.

    Raises:
        OSError: nobody listens there after so long.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return connect(address)
        except OSError:
            if time.monotonic() > deadline or not address.parent.exists():
                raise
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def running(*, project: Path, target: str) -> Iterator[Path]:
    """The address of a template that lives as long as the block.

    Its folder is this process's scratch, for sockets and Ray's files; what dead
    drivers left goes.
    """
    strays.clean()
    folder = strays.scratch_folder(os.getpid())
    folder.mkdir(mode=0o700)
    os.environ[strays.MARK] = str(folder)
    try:
        process = launch(folder / "template", project=project, target=target)
        try:
            yield folder / "template"
        finally:
            _end(process)
    finally:
        del os.environ[strays.MARK]
        shutil.rmtree(folder, ignore_errors=True)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Close the template's input, which ends it and its trials."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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
        """Serve until killed; the trials die with it."""
        adopt_orphans()
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for source in (self._listener.fileno(), self._wake_read):
            self._poll.register(source, select.POLLIN)
        while True:
            for source, _ in self._poll.poll():
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
        """The child's whole life, to an exit as an interpreter's own."""
        os.setpgid(0, 0)
        die_with_parent()
        adopt_orphans()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._listener.close()
        for other in self._children.values():
            other.close()
        try:
            self._serve(connection)
        except BaseException:  # the one edge of a forked process
            traceback.print_exc()
            leaving.leave(1)
        leaving.leave(0)

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
        for pid in strays.children(os.getpid()):
            if pid not in self._children and not strays.is_wandb(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def preload(modules: Sequence[str], target: str) -> None:
    """Import what every trial needs; what fails here fails again in the trial."""
    module = () if is_program(target) else (target.partition(":")[0],)
    for name in (*modules, *module):
        try:
            importlib.import_module(name)
        except Exception as error:  # the project's; the trial meets and reports it
            print(f"template: {name} is not preloaded: {error}", file=sys.stderr)


def warm_hydra() -> None:
    """Have Hydra find its plugins and its parser learn, once for all trials."""
    hydra = importlib.import_module("sweeper.project.compose")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "warm.yaml"
        config.write_text(WARMING)
        hydra.Composer(config, Path(folder)).compose(WARMING_OVERRIDES)


def guard(scratch: Path) -> None:
    """Wait for the owner's end, then end what carries its mark."""
    while os.read(sys.stdin.fileno(), 1024):
        continue
    strays.end(scratch, grace_seconds=GRACE_SECONDS)
    shutil.rmtree(scratch, ignore_errors=True)


def main(arguments: Sequence[str]) -> None:
    """`python -m sweeper.processes.template ADDRESS PROJECT TARGET`."""
    address, project, target = arguments
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() > 0:
        guard(Path(address).parent)
        return
    die_with_parent()
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    put_on_path(Path(project))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(64)
    preload(PRELOADED, target)
    warm_hydra()
    gc.collect()
    gc.freeze()  # a collection in a trial would copy every page that it looks at
    child = importlib.import_module("sweeper.processes.child")
    Template(listener, child.serve).run()


if __name__ == "__main__":
    main(sys.argv[1:])

"""The zygote: one process a node that has imported torch and forks each trial.

It imports and forks; it never starts a thread, a GPU context or a training. Its
standard input ends with its owner: then the zygote ends all that the owner started.
"""

import contextlib
import fcntl
import gc
import importlib
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sweeper import protocol
from sweeper.system import orphans, process
from sweeper.system.errors import ConfigError
from sweeper.system.paths import TrialPaths
from sweeper.system.targets import put_on_path
from sweeper.trial import forked, importing, job, probe

GRACE_SECONDS = 2.0
WARMING = "a: {b: 1, c: x, d: [1, 2], e: 0.1}\nf: ${a.b}\n"
WARMING_OVERRIDES = ("a.b=2", "a.c='y z'", "+g=[1,{h: -1e-3}]", "++i.j=null", "~f")
PRELOADED = (
    "torch",
    "lightning.pytorch",
    "torchvision",
    "sweeper.trial.worker",
)


class Zygote:
    """The loop: answer the order, fork a process for each trial, reap it.

    One process is always forked ahead, so that a trial does not wait for the fork.

    Args:
        server: at which the owner and the slots ask.
    """

    def __init__(self, server: protocol.Server) -> None:
        self._server = server
        self._composes = False
        self._trials: dict[int, protocol.Peer] = {}
        self._helpers = set[int]()  # processes of imported libraries
        self._spare: tuple[int, protocol.Connection] | None = None
        self._wake, self._wake_write = os.pipe()

    def run(self) -> None:
        """Serve until killed; the trials die with this process."""
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            messages, others = self._server.wait(self._wake)
            for peer, message in messages:
                self._take(peer, message)
            if others:
                os.read(self._wake, 1024)
                self._reap()

    def _take(self, peer: protocol.Peer, message: protocol.Message | None) -> None:
        pid = next((pid for pid, p in self._trials.items() if p is peer), 0)
        match message:
            case protocol.Order():
                self._obey(peer, message)
            case protocol.Run():
                self._start(peer, message)
            case protocol.Kill() if pid:
                forked.dump_stacks(pid)
                forked.kill_group(pid)
            case None if pid:  # the slot is gone
                forked.kill_group(pid)

    def _obey(self, peer: protocol.Peer, order: protocol.Order) -> None:
        """Import what the trials of the order need."""
        project = Path(order.project)
        os.chdir(project)
        put_on_path(project)
        importing.forget_shadowed(project)
        preload(order.modules)
        imported = protocol.Imported()
        if order.target:
            imported = probe.probe(
                order.target, project, limit_seconds=order.limit_seconds
            )
        peer.answer(imported)
        self._composes = bool(order.target) and not imported.has_configs
        importing.import_shared(imported.shared, imported.private)
        self._helpers = set(orphans.children(os.getpid()))
        gc.freeze()  # a collection in a trial would copy every page that it looks at
        gc.enable()
        self._spare = self._fork()

    def _start(self, peer: protocol.Peer, run: protocol.Run) -> None:
        """Let a process that was forked ahead become the trial, and fork the next."""
        while True:
            pid, channel = self._spare or self._fork()
            self._spare = None
            with channel, contextlib.suppress(OSError):  # somebody has killed it
                channel.tell(run)
                break
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self._trials[pid] = peer
        self._compose(run.spec)
        self._spare = self._fork()

    def _compose(self, spec: protocol.TrialSpec) -> None:
        """Compose a trial's config for those that follow, if that needs no import."""
        if self._composes:
            source = job.Source(
                config=Path(spec.config), project=Path(spec.project), target=spec.target
            )
            try:
                job.prepare(source, spec.overrides)
            except ConfigError:  # the trial meets and reports it
                self._composes = False

    def _fork(self) -> tuple[int, protocol.Connection]:
        ours, its = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_trial(protocol.Connection(its))
        its.close()
        return pid, protocol.Connection(ours)

    def _become_trial(self, channel: protocol.Connection) -> NoReturn:
        """Live the forked process's life, to an exit as an interpreter's own."""
        try:
            forked.begin()
            forked.adopt_orphans()
            os.close(self._wake)
            os.close(self._wake_write)
            self._server.close()
            run = channel.receive()
            channel.close()
            if isinstance(run, protocol.Run):
                serve(run)
        except BaseException:  # the one edge of a forked process
            traceback.print_exc()
            process.leave(1)
        os._exit(0)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):  # none is left
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                peer = self._trials.pop(pid, None)
                if self._spare is not None and self._spare[0] == pid:
                    self._spare = None
                if peer is not None:
                    forked.kill_group(pid)
                    self._kill_orphans()
                    peer.answer(protocol.Exited(code=os.waitstatus_to_exitcode(status)))
                    self._server.drop(peer)
        self._kill_orphans()

    def _kill_orphans(self) -> None:
        """End what a dead trial left: children that this process did not fork."""
        ours = {*self._trials, *self._helpers}
        if self._spare is not None:
            ours.add(self._spare[0])
        for pid in set(orphans.children(os.getpid())) - ours:
            if not orphans.is_wandb(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def serve(run: protocol.Run) -> None:
    """Run a trial in this process and say how it ended."""
    # torch, which the zygote has imported
    worker = importlib.import_module("sweeper.trial.worker")
    spec = run.spec
    os.environ.update(run.env)
    client = protocol.Client(run.address)
    try:
        forked.restore_signals()
        redirect_output(TrialPaths(Path(spec.folder)))
        forked.enable_stacks()
        ended = worker.run_trial(
            spec, client.ask, await_turn=lambda: client.ask(protocol.Ready())
        )
    except BaseException as error:  # such as a folder that cannot be written to
        ended = worker.ended_by(error, spec)
    process.flush()
    last = protocol.Client(run.address)  # the target may have closed the first one
    last.tell(ended)
    process.run_exit_handlers()
    last.tell(protocol.Left())
    process.drop_project_modules()


def redirect_output(paths: TrialPaths) -> None:
    """Send standard output and error to the trial's log, which attempts share."""
    paths.folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def preload(modules: Sequence[str]) -> None:
    """Import what every trial needs; what fails here fails again in the trial."""
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # the project's; the trial meets and reports it
            print(f"zygote: {name} is not preloaded: {error}", file=sys.stderr)


def warm_hydra() -> None:
    """Have Hydra find its plugins and its parser learn, once for all trials."""
    hydra = importlib.import_module("sweeper.trial.compose")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "warm.yaml"
        config.write_text(WARMING)
        hydra.Composer(config, Path(folder)).compose(WARMING_OVERRIDES)


def end_with_owner(owner: int, scratch: Path) -> None:
    """Have this process end all that carries the mark of `scratch` with its owner.

    The kernel sends a signal at the owner's end, even during an import.

    Args:
        owner: descriptor of a pipe whose other end only the owner holds.
    """

    def end(*_: object) -> None:
        if select.select([owner], [], [], 0)[0] and not os.read(owner, 1024):
            orphans.end(scratch, grace_seconds=GRACE_SECONDS)
            shutil.rmtree(scratch, ignore_errors=True)
            os._exit(0)

    signal.signal(signal.SIGIO, end)
    fcntl.fcntl(owner, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(owner, fcntl.F_SETFL, os.O_ASYNC)
    end()


def main(arguments: Sequence[str]) -> None:
    """`python -m sweeper.trial.zygote ADDRESS`."""
    (address,) = arguments
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    end_with_owner(os.dup(sys.stdin.fileno()), Path(address).parent)
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    server = protocol.Server(address)
    gc.disable()  # what is imported stays; to look through it costs an eighth
    preload(PRELOADED)
    warm_hydra()
    forked.adopt_orphans()
    Zygote(server).run()


if __name__ == "__main__":
    # From the module, since a trial empties `__main__` at its end.
    importlib.import_module("sweeper.trial.zygote").main(sys.argv[1:])

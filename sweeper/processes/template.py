"""One warm process a node that forks every trial, imports already done.

It imports and forks; it never starts a thread, a GPU context or a training. A guard
in front of it, with nothing imported, waits for the end of its standard input: then
the owner is dead or done, and all that the owner started ends with the template.

The first connection to its socket is the owner's order, each further one a trial.
Lines of JSON go both ways between its client (a slot) and the forked child.
"""

import contextlib
import gc
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from sweeper.definition.sources import is_program, put_on_path
from sweeper.errors import SweeperError, TargetError
from sweeper.host import orphans
from sweeper.processes import fork_server, probe
from sweeper.processes.fork_server import ForkServer
from sweeper.project import importing

GRACE_SECONDS = 2.0
POLL_SECONDS = 0.05
START_SECONDS = 60.0
WARMING = "a: {b: 1, c: x, d: [1, 2], e: 0.1}\nf: ${a.b}\n"
WARMING_OVERRIDES = ("a.b=2", "a.c='y z'", "+g=[1,{h: -1e-3}]", "++i.j=null", "~f")
PRELOADED = (
    "torch",
    "lightning.pytorch",
    "torchvision",
    "sweeper.processes.child",
)


def launch(address: Path) -> subprocess.Popen[bytes]:
    """Start a template that listens at `address` and lives as long as we do.

    It imports what any trial needs, then waits for its `order`.

    Args:
        address: socket, in the scratch folder that marks this owner's processes.
    """
    # -P: what lies in the folder that we happen to be in is not on a trial's path.
    command = [sys.executable, "-P", "-m", "sweeper.processes.template", str(address)]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def order(
    address: Path,
    *,
    project: Path,
    target: str,
    modules: Sequence[str] = (),
    timeout_seconds: float | None = None,
) -> socket.socket:
    """Tell a template that was launched what its trials are of.

    Args:
        project: put on the import path.
        target: if it is "module:function", its module is imported once in a process of
            its own, and the third-party modules that it needs in the template.
        modules: what else its trials need.
        timeout_seconds: longest silence of a trial.

    Returns:
        The connection that says how the import went: see `await_import`.

    Raises:
        SweeperError: there is no template.
    """
    connection = await_start(address, START_SECONDS)
    wanted = {
        "project": str(project),
        "target": "" if is_program(target) else target,
        "modules": list(modules),
        "limit_seconds": probe.limit(timeout_seconds),
    }
    connection.sendall(json.dumps(wanted).encode())
    connection.shutdown(socket.SHUT_WR)
    return connection


def await_import(connection: socket.socket) -> probe.Imported:
    """Wait until a template has imported what its order names.

    Args:
        connection: of the order; it is closed.

    Raises:
        OSError: the template has ended.
    """
    with connection, connection.makefile("rb") as file:
        text = file.read()
    if not text:
        raise OSError("the template ended while it imported the target")
    return probe.Imported(**json.loads(text))


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
        SweeperError: nobody listens there after so long.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return connect(address)
        except OSError as error:
            if time.monotonic() > deadline or not address.parent.exists():
                raise SweeperError(
                    f"{address}: the process that starts trials does not answer "
                    f"({error}); it must within {seconds:g} s; look whether the "
                    "machine is out of memory, and give the command again"
                ) from error
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def launched() -> Iterator[Path]:
    """The address of a template, yet without an order, that lives as long as the block.

    Its folder is this process's scratch, for sockets and Ray's files; what dead
    drivers left goes.
    """
    orphans.clean()
    with orphans.scratch() as folder:
        os.environ[orphans.MARK] = str(folder)
        try:
            process = launch(folder / "template")
            try:
                yield folder / "template"
            finally:
                _end(process)
        finally:
            del os.environ[orphans.MARK]


@contextlib.contextmanager
def running(*, project: Path, target: str) -> Iterator[Path]:
    """The address of a template of a target that lives as long as the block.

    Raises:
        TargetError: the target cannot be imported.
    """
    with launched() as address:
        imported = await_import(order(address, project=project, target=target))
        if imported.error:
            raise TargetError(imported.error)
        yield address


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Close the template's input, which ends it and its trials."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def preload(modules: Sequence[str]) -> None:
    """Import what every trial needs; what fails here fails again in the trial."""
    for name in modules:
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
    orphans.end(scratch, grace_seconds=GRACE_SECONDS)
    shutil.rmtree(scratch, ignore_errors=True)


def obey_order(listener: socket.socket) -> None:
    """Import what the first to connect asks for, and answer how that went."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as file:
        wanted = json.load(file)
        project = Path(wanted["project"])
        os.chdir(project)
        put_on_path(project)
        importing.forget_shadowed(project)
        preload(wanted["modules"])
        imported = probe.Imported()
        if wanted["target"]:
            imported = probe.probe(
                wanted["target"], project, limit_seconds=wanted["limit_seconds"]
            )
        with contextlib.suppress(OSError):  # nobody waits for it
            connection.sendall(json.dumps(asdict(imported)).encode())
    importing.import_shared(imported.shared, imported.private)


def main(arguments: Sequence[str]) -> None:
    """`python -m sweeper.processes.template ADDRESS`."""
    (address,) = arguments
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() > 0:
        guard(Path(address).parent)
        return
    fork_server.die_with_parent()
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(64)
    gc.disable()  # what is imported stays; to look through it costs an eighth
    preload(PRELOADED)
    warm_hydra()
    fork_server.adopt_orphans()
    obey_order(listener)
    gc.freeze()  # a collection in a trial would copy every page that it looks at
    gc.enable()
    child = importlib.import_module("sweeper.processes.child")
    ForkServer(listener, child.serve).run()


if __name__ == "__main__":
    main(sys.argv[1:])

"""A zygote as its owner starts it and its slots ask it."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweeper.protocol import Client, Imported, Order
from sweeper.system import orphans
from sweeper.system.errors import SweeperError, TargetError
from sweeper.system.targets import is_program
from sweeper.trial.probe import limit

POLL_SECONDS = 0.05
START_SECONDS = 60.0
END_SECONDS = 10.0


def launch(address: Path) -> "subprocess.Popen[bytes]":
    """Start a zygote that listens at `address` and lives as long as this process.

    It imports what any trial needs, then waits for its `order`.

    Args:
        address: socket, in the scratch folder that marks this owner's processes.
    """
    # -P: what is in the folder that we happen to be in is not on a trial's path.
    command = [sys.executable, "-P", "-m", "sweeper.trial.zygote", str(address)]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a zygote, its trials and all else that its owner has started."""
    assert process.stdin is not None  # noqa: S101  # see `launch`
    process.stdin.close()
    try:
        process.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def order(
    address: Path,
    *,
    project: Path,
    target: str,
    modules: Sequence[str] = (),
    timeout_seconds: float | None = None,
) -> Client:
    """Tell a zygote that was launched which target its trials have.

    Args:
        project: put on the import path.
        target: if it is "module:function", its module is imported once in a process of
            its own, and the third-party modules that it needs in the zygote.
        modules: other modules that the trials need.
        timeout_seconds: longest silence of a trial.

    Returns:
        The connection that says how the import went: see `await_import`.

    Raises:
        SweeperError: the zygote does not start.
    """
    client = await_start(address)
    client.tell(
        Order(
            project=str(project),
            target="" if is_program(target) else target,
            modules=tuple(modules),
            limit_seconds=limit(timeout_seconds),
        )
    )
    return client


def await_import(client: Client) -> Imported:
    """Wait until a zygote has imported the target of its order, and close `client`.

    Raises:
        OSError: the zygote has ended.
    """
    with client:
        imported = client.receive()
    if not isinstance(imported, Imported):
        raise OSError("the zygote ended while it imported the target")
    return imported


def await_start(address: Path) -> Client:
    """Connect to a zygote that may only just have been launched.

    Raises:
        SweeperError: nobody listens there in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return Client(str(address))
        except OSError as error:
            if time.monotonic() > deadline or not address.parent.exists():
                raise SweeperError(
                    f"{address}: the process that starts trials does not answer "
                    f"({error}); it must within {START_SECONDS:g} s; check whether the "
                    "machine is out of memory, and give the command again"
                ) from error
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def launched() -> Iterator[Path]:
    """Launch a zygote, without an order yet, that lives as long as the block.

    The folder of its address is this process's scratch, for sockets and Ray's files.
    What dead drivers have left is removed.
    """
    orphans.clean()
    with orphans.scratch() as folder:
        os.environ[orphans.MARK] = str(folder)
        try:
            process = launch(folder / "zygote")
            try:
                yield folder / "zygote"
            finally:
                end(process)
        finally:
            del os.environ[orphans.MARK]


@contextlib.contextmanager
def running(*, project: Path, target: str) -> Iterator[Path]:
    """Launch a zygote of a target that lives as long as the block.

    Raises:
        TargetError: the target cannot be imported.
    """
    with launched() as address:
        imported = await_import(order(address, project=project, target=target))
        if imported.error:
            raise TargetError(imported.error)
        yield address

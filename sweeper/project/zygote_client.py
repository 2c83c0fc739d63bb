"""Functions to start a zygote, to connect to it and to end it."""

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
from sweeper.system.process import await_end
from sweeper.system.targets import is_program
from sweeper.trial.probe import limit

POLL_SECONDS = 0.05
START_SECONDS = 60.0
END_SECONDS = 10.0


def launch(address: Path) -> "subprocess.Popen[bytes]":
    """Start a zygote that listens at `address` and ends with this process.

    It imports the modules that every trial needs, then waits for its `order`.

    Args:
        address: socket in the scratch folder that marks this owner's processes.
    """
    # -P: the working directory must not be on a trial's import path.
    command = [sys.executable, "-P", "-m", "sweeper.trial.zygote", str(address)]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a zygote, its trials and the other processes that its owner has started."""
    assert process.stdin is not None  # noqa: S101  # see `launch`
    process.stdin.close()
    await_end(process, seconds=END_SECONDS)


def order(
    address: Path,
    *,
    project: Path,
    target: str,
    modules: Sequence[str] = (),
    timeout_seconds: float | None = None,
) -> Client:
    """Send a launched zygote the target of its trials.

    Args:
        project: folder to put on the import path.
        target: if it is "module:function", its module is imported once in a separate
            process; the zygote imports the third-party modules that it needs.
        modules: other modules that the trials need.
        timeout_seconds: longest silence of a trial.

    Returns:
        The connection that receives the result of the import: see `await_import`.

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
    """Wait until a zygote has imported its target; close `client`; return the result.

    Raises:
        OSError: the zygote has ended.
    """
    with client:
        imported = client.receive()
    if not isinstance(imported, Imported):
        raise OSError("the zygote ended while it imported the target")
    return imported


def await_start(address: Path) -> Client:
    """Connect to a zygote that may still be starting.

    Raises:
        SweeperError: the zygote does not answer in time.
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
    """Launch a zygote without an order for the time of the block; yield its address.

    The folder of the address is this process's scratch, for sockets and Ray's files.
    Processes and scratch folders of dead drivers are removed first.
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
    """Launch a zygote of a target for the time of the block; yield its address.

    Raises:
        TargetError: the target cannot be imported.
    """
    with launched() as address:
        imported = await_import(order(address, project=project, target=target))
        if imported.error:
            raise TargetError(imported.error)
        yield address

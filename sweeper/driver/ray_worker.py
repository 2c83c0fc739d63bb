"""The code of a Ray worker: one slot, with the zygote of its node.

It does not import the modules that drive a sweep.
"""

import functools
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import ray

from sweeper.driver.cluster import NAMESPACE, own_card
from sweeper.project import slot, zygote_client
from sweeper.protocol import Client
from sweeper.system.errors import JournalError

DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES",)
POLL_SECONDS = 0.05


def run(
    name: str,
    *,
    has_card: bool,
    journal_name: str,
    address: str,
    project: str,
    target: str,
) -> None:
    """Run one slot in a Ray worker, once trials may start.

    Args:
        name: name of the slot, which has claimed a trial.
        address: socket of the zygote of the driver's node.
    """
    journal: Any = ray.get_actor(journal_name, namespace=NAMESPACE)
    while (may_start := ray.get(journal.may_start.remote())) is None:
        time.sleep(POLL_SECONDS)
    if not may_start:
        ray.get(journal.pause.remote(name))
        return
    try:
        slot.run(
            name,
            journal,
            wait=ray.get,
            connect=functools.partial(_connect, address, Path(project), target),
            env={k: os.environ[k] for k in DEVICE_VARIABLES if k in os.environ},
            card=own_card() if has_card else "",
        )
    except ray.exceptions.RayTaskError as error:
        # The journal or its disk failed, not the trial.
        if not isinstance(error.cause, OSError | JournalError):
            raise
        message = f"the journal cannot be written: {error.cause}"
        ray.get(journal.abort.remote(name, message))


def _connect(address: str, project: Path, target: str) -> Client:
    """Connect to the driver's zygote if it is on this node, else to a new zygote."""
    try:
        return Client(address)
    except OSError:
        address, _ = _own_zygote(project, target)
        return Client(address)


@functools.cache
def _own_zygote(project: Path, target: str) -> tuple[str, "subprocess.Popen[bytes]"]:
    """Launch a zygote; it ends when its input closes, so with this worker."""
    address = Path(tempfile.mkdtemp(prefix="sweeper-")) / "zygote"
    process = zygote_client.launch(address)
    zygote_client.order(address, project=project, target=target).close()
    return str(address), process

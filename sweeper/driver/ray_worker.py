"""The body of a Ray worker: one slot, with the zygote of its node.

It imports neither Tune nor what drives a sweep.
"""

import functools
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sweeper.driver.journal_client import RemoteJournal
from sweeper.driver.ray_cluster import ACCELERATOR, own_card
from sweeper.journal.record import Demand
from sweeper.project import slot, zygote_client
from sweeper.protocol import Client
from sweeper.system.errors import JournalError

DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES",)


def demand(config: Mapping[str, object]) -> Demand:
    """Return the demand in the config of a slot."""
    return Demand(
        cpus=float(str(config["cpus"])),
        gpus=float(str(config["gpus"])),
        accelerator=str(config["accelerator"]),
    )


def bundle(demand: Demand) -> dict[str, float]:
    """Return a demand as Ray's resources of one placement-group bundle."""
    resources = {"CPU": demand.cpus}
    if demand.gpus:
        resources["GPU"] = demand.gpus
    if demand.accelerator:
        resources[ACCELERATOR + demand.accelerator] = 0.001
    return resources


def run(
    config: Mapping[str, object],
    *,
    journal_name: str,
    address: str,
    project: str,
    target: str,
) -> None:
    """Run one slot in a Ray worker, once trials may start."""
    journal = RemoteJournal.find(journal_name)
    if not journal.await_start():
        journal.pause(str(config["slot"]))
        return
    env = {name: os.environ[name] for name in DEVICE_VARIABLES if name in os.environ}
    wanted = demand(config)
    try:
        slot.run(
            str(config["slot"]),
            journal,
            demand=wanted,
            card=own_card() if wanted.gpus else "",
            connect=functools.partial(_connect, address, Path(project), target),
            env=env,
        )
    except JournalError as error:  # a fault of the journal's disk, not of the trial
        journal.abort(str(config["slot"]), str(error))


def _connect(address: str, project: Path, target: str) -> Client:
    """Connect to the driver's zygote if it is on this node, else to one of our own."""
    try:
        return Client(address)
    except OSError:
        address, _ = _own_zygote(project, target)
        return Client(address)


@functools.cache
def _own_zygote(project: Path, target: str) -> tuple[str, "subprocess.Popen[bytes]"]:
    """Launch a zygote of this worker's own; it ends with its input, so with us."""
    address = Path(tempfile.mkdtemp(prefix="sweeper-")) / "zygote"
    process = zygote_client.launch(address)
    zygote_client.order(address, project=project, target=target).close()
    return str(address), process

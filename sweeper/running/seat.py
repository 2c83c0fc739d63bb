"""What a Ray worker runs: one slot, with a zygote at its side.

It imports neither Tune nor what drives a sweep.
"""

import functools
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sweeper.errors import JournalError
from sweeper.processes import launch, slot
from sweeper.protocol import Client
from sweeper.running.ray_node import ACCELERATOR, own_card
from sweeper.running.remote import RemoteJournal
from sweeper.trial import Demand

DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES",)


def demand(config: Mapping[str, object]) -> Demand:
    """What the slot of this config was given."""
    return Demand(
        cpus=float(str(config["cpus"])),
        gpus=float(str(config["gpus"])),
        accelerator=str(config["accelerator"]),
    )


def bundle(asked: Demand) -> dict[str, float]:
    """What a slot asks for as Ray's resources of one placement-group bundle."""
    resources = {"CPU": asked.cpus}
    if asked.gpus:
        resources["GPU"] = asked.gpus
    if asked.accelerator:
        resources[ACCELERATOR + asked.accelerator] = 0.001
    return resources


def run(
    config: Mapping[str, object],
    *,
    journal_name: str,
    address: str,
    project: str,
    target: str,
) -> None:
    """The body of one slot, in a Ray worker."""
    journal = RemoteJournal.find(journal_name)
    if not journal.await_start():
        journal.pause(str(config["slot"]))
        return
    env = {name: os.environ[name] for name in DEVICE_VARIABLES if name in os.environ}
    asked = demand(config)
    try:
        slot.run(
            str(config["slot"]),
            journal,
            demand=asked,
            card=own_card() if asked.gpus else "",
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
        own, _ = _own_zygote(project, target)
        return Client(own)


@functools.cache
def _own_zygote(project: Path, target: str) -> tuple[str, "subprocess.Popen[bytes]"]:
    """Launch a zygote of this worker's own; it ends with its input, so with us."""
    address = Path(tempfile.mkdtemp(prefix="sweeper-")) / "zygote"
    process = launch.launch(address)
    launch.order(address, project=project, target=target).close()
    return str(address), process

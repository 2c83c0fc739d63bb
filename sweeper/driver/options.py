"""The options of `run` that name a Ray cluster, checked before anything starts."""

import os
import socket
from dataclasses import dataclass

from sweeper.packing import packing
from sweeper.system.errors import AddressError, DemandError, SweeperError

CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """The Ray cluster of a run.

    Attributes:
        address: a running cluster, "auto" for this machine's; "" starts one, unless
            RAY_ADDRESS is set.
        cpus: logical cores of the cluster that is started, None for the machine's.
        gpus: logical devices of it, None for the machine's.
        card: type of its logical devices, as `packing.find_card` reads it.
    """

    address: str = ""
    cpus: int | None = None
    gpus: int | None = None
    card: str = ""

    def resolved(self) -> str:
        """Return the address to connect to, "" to start a cluster."""
        address = self.address or os.environ.get("RAY_ADDRESS", "")
        return "" if address == "local" else address

    def place(self) -> str:
        """Return the option or variable that gives the address, for messages."""
        address = self.resolved()
        return f"--address {address}" if self.address else f"RAY_ADDRESS={address}"

    def check(self) -> None:
        """Check every value as far as that is possible without Ray.

        Raises:
            SweeperError: a value is out of range, or contradicts another one.
            AddressError: nothing answers at the address.
        """
        _check_card(self.card)
        _check_count("--num-cpus", self.cpus, least=1)
        _check_count("--num-gpus", self.gpus, least=0)
        address = self.resolved()
        if not address:
            return
        if "://" in address and not address.startswith("ray://"):
            raise AddressError(f"{self.place()}: not an address; {_WANTED}")
        if address.startswith("ray://"):
            raise AddressError(f"{self.place()}: an address of Ray Client; {_WANTED}")
        for_own_cluster = {
            "--num-cpus": self.cpus,
            "--num-gpus": self.gpus,
            "--card": self.card or None,
        }
        names = [name for name, value in for_own_cluster.items() if value is not None]
        if names:
            raise SweeperError(
                f"{' and '.join(names)}: only for a Ray that sweeper starts, and "
                f"{self.place()} names one that runs; leave one of them out"
            )
        if address != "auto":
            _connect(address, self.place())


_WANTED = "give HOST:PORT as `ray start --head` prints it (port 6379), or auto"


def _check_card(text: str) -> None:
    try:
        packing.find_card(text)
    except DemandError as error:
        message = str(error).replace("resources.accelerator:", "--card:", 1)
        raise DemandError(message) from error


def _check_count(name: str, value: int | None, *, least: int) -> None:
    if value is not None and value < least:
        raise SweeperError(f"{name} {value}: it must be {least} or more")


def _connect(address: str, place: str) -> None:
    """Check that anything listens at an address; Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise AddressError(f"{place}: not an address; {_WANTED}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise AddressError(
            f"{place}: nothing answers there ({error}); start a cluster with "
            f"`ray start --head`, or {_WANTED}"
        ) from error

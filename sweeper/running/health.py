"""What `sweeper doctor` looks at: versions, GPUs, disk, Ray and W&B of this machine.

Each check is one line that says what was found and, where it is a problem, what to do.
"""

import importlib.metadata
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import SweeperError
from sweeper.text import GIB

PACKAGES = ("torch", "lightning", "hydra-core", "ray", "optuna", "wandb")
FREE_BYTES = 5 * 10**9  # less than this fills up within a few checkpoints
SHM_BYTES = 64 * 2**20  # what containers give by default, too little for loaders
SHM = Path("/dev/shm")  # noqa: S108  # looked at, never written to


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor; `advice` is "" where all is well."""

    topic: str
    text: str
    advice: str = ""


def examine(sweeps: Path, *, has_ray_started: bool) -> Iterator[Finding]:
    """Every finding, the quick ones first.

    Args:
        sweeps: folder of all sweeps, which need not exist.
        has_ray_started: whether a local Ray is started to see if it does.
    """
    yield from versions()
    yield disk(sweeps)
    yield shared_memory(SHM)
    yield wandb()
    yield from gpus()
    if has_ray_started:
        yield ray()


def versions() -> Iterator[Finding]:
    """Python and the packages that a sweep needs."""
    yield Finding(topic="python", text=platform.python_version())
    for package in PACKAGES:
        try:
            text = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            advice = f"pip install {package}"
            yield Finding(topic=package, text="not installed", advice=advice)
        else:
            yield Finding(topic=package, text=text)


def disk(sweeps: Path) -> Finding:
    """Free space where checkpoints go, and whether a file can be made there."""
    folder = next(p for p in (sweeps, *sweeps.absolute().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / GIB:.1f} GiB free in {folder.absolute()}"
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        advice = f"{error.strerror}; choose a folder with --sweeps DIR"
        return Finding(topic="disk", text=text, advice=advice)
    advice = "free some space or use --sweeps DIR" if free < FREE_BYTES else ""
    return Finding(topic="disk", text=text, advice=advice)


def shared_memory(folder: Path) -> Finding:
    """Room for the batches of loader workers; Linux only."""
    if not folder.exists():
        return Finding(topic="shared memory", text="not of this system")
    total = shutil.disk_usage(folder).total
    is_small = total <= SHM_BYTES
    advice = "start the container with --shm-size=8g, or use data.num_workers=0"
    text = f"{total / GIB:.2f} GiB in {folder}"
    return Finding(topic="shared memory", text=text, advice=advice if is_small else "")


def wandb() -> Finding:
    """Whether runs go online; without a login they are kept for `sweeper sync`."""
    from sweeper.host import wandb as runs

    login = "a login" if runs.has_login() else "no login"
    return Finding(topic="wandb runs", text=f"{login}: runs are {runs.mode('auto')}")


def gpus() -> Iterator[Finding]:
    """Cards by NVML, and whether torch sees as many."""
    import pynvml

    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        yield Finding(topic="gpu", text=f"none ({error})")
        return
    for index in range(count):
        device = pynvml.nvmlDeviceGetHandleByIndex(index)
        memory = pynvml.nvmlDeviceGetMemoryInfo(device)
        name = pynvml.nvmlDeviceGetName(device)
        text = f"{name}, {memory.used / GIB:.1f} of {memory.total / GIB:.1f} GiB used"
        yield Finding(topic=f"gpu {index}", text=text)
    import torch

    seen = torch.cuda.device_count()
    advice = "" if seen else "install a torch built for CUDA, or look at the driver"
    yield Finding(topic="torch", text=f"sees {seen} of {count} GPUs", advice=advice)


def ray() -> Finding:
    """Whether a small Ray starts and stops on this machine."""
    from sweeper.compat import ray as compat
    from sweeper.running import ray_node
    from sweeper.running.options import ClusterOptions

    with tempfile.TemporaryDirectory(prefix="sweeper.") as scratch:
        try:
            ray_node.start(ClusterOptions(cpus=1, gpus=0), scratch=Path(scratch))
        except (SweeperError, RuntimeError, OSError) as error:
            text = str(error).splitlines()[0]
            return Finding(topic="ray", text="does not start", advice=text)
        compat.shutdown()
    return Finding(topic="ray", text="starts and stops")

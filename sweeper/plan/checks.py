"""The checks of this machine that `doctor` and the preflight share."""

import importlib.metadata
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pynvml

from sweeper.system import disk as disks
from sweeper.system import wandb
from sweeper.system.text import GIB

PACKAGES = ("torch", "lightning", "hydra-core", "ray", "optuna", "wandb")
LOW_DISK_BYTES = 5 * 10**9  # a few checkpoints fill less than this
LOW_SHM_BYTES = 64 * 2**20  # the default of containers is too little for loaders
SHM = Path("/dev/shm")  # noqa: S108  # read only
COUNT = "import torch; print(torch.cuda.device_count())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        advice: the user's next step if `is_fine` is False.
        is_certain: whether the trials of a sweep would certainly fail.
        traceback: the traceback of an error in the project, "" if there is none.
    """

    topic: str
    text: str
    is_fine: bool = True
    advice: str = ""
    is_certain: bool = False
    traceback: str = ""

    def __str__(self) -> str:
        advice = f"; {self.advice}" if self.advice and not self.is_fine else ""
        return f"{self.topic}: {self.text}{advice}"


def examine(sweeps: Path) -> Iterator[Finding]:
    """Yield the findings of this machine, the quick ones first.

    Args:
        sweeps: the folder of all sweeps; it need not exist.
    """
    yield Finding(topic="python", text=platform.python_version())
    yield from versions()
    yield disk(sweeps)
    yield shared_memory(SHM)
    yield login()
    yield from gpus()


def versions() -> Iterator[Finding]:
    """Yield the version of each package that a sweep needs."""
    for package in PACKAGES:
        try:
            text = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            text = ""
        yield Finding(
            topic=package,
            text=text or "not installed",
            is_fine=bool(text),
            advice=f"pip install {package}",
        )


def disk(folder: Path) -> Finding:
    """Check that a folder has space for checkpoints and can be written to."""
    folder = disks.made(folder).absolute()
    free = shutil.disk_usage(folder).free
    advice = "each trial keeps checkpoints: free some space, or choose --sweeps DIR"
    is_fine = free >= LOW_DISK_BYTES
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        is_fine, advice = False, f"{error.strerror}: choose a folder with --sweeps DIR"
    text = f"{free / GIB:.1f} GiB free in {folder}"
    return Finding(topic="disk", text=text, is_fine=is_fine, advice=advice)


def shared_memory(folder: Path) -> Finding:
    """Check the size of the shared memory that loader workers need (Linux only)."""
    if not folder.exists():
        return Finding(topic="shared memory", text="not of this system")
    total = shutil.disk_usage(folder).total
    return Finding(
        topic="shared memory",
        text=f"{total / GIB:.2f} GiB in {folder}",
        is_fine=total > LOW_SHM_BYTES,
        advice="start the container with --shm-size=8g, or use data.num_workers=0",
    )


def login(setting: str = "auto") -> Finding:
    """Check that W&B runs can be logged in the wanted mode.

    Args:
        setting: `wandb.mode` of the experiment.
    """
    mode = wandb.mode(setting)
    has_login = wandb.has_login()
    text = f"{'a' if has_login else 'no'} login: runs are {mode}"
    advice = ""
    if mode == "online" and not has_login:
        advice = (
            "run `wandb login` or set WANDB_API_KEY; until then runs are written "
            "offline"
        )
    elif mode == "online" and (reason := wandb.unreachable()):
        text += f", but there is no answer of {reason}"
        advice = "runs are written offline until the server answers"
    return Finding(topic="wandb runs", text=text, is_fine=not advice, advice=advice)


def gpus() -> Iterator[Finding]:
    """Yield the cards that NVML sees, and check that torch sees cards too."""
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
    # In another process, so that this one does not import torch.
    asked = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, text=True, check=False
    )
    seen = asked.stdout.strip() or "none"
    yield Finding(
        topic="torch",
        text=f"sees {seen} of {count} GPUs",
        is_fine=seen not in ("none", "0"),
        advice="install a torch built for CUDA, or check the driver",
    )

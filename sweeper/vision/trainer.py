"""A Lightning Trainer whose settings are adapted to the machine.

Each change is logged. Callbacks and loggers come from the caller only.
"""

import logging
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, ProgressBar
from lightning.pytorch.loggers import Logger

log = logging.getLogger(__name__)

Precision: TypeAlias = Literal["auto", "32-true", "16-mixed", "bf16-mixed", "64-true"]
GPU_NAMES = ("gpu", "cuda")


def make_trainer(
    *,
    callbacks: Sequence[Callback] = (),
    logger: Sequence[Logger] = (),
    accelerator: str = "auto",
    precision: Precision = "auto",
    benchmark: bool | Literal["auto"] = "auto",
    deterministic: bool | Literal["auto"] = "auto",
    enable_checkpointing: bool | None = None,
    enable_progress_bar: bool | None = None,
    **settings: object,
) -> Trainer:
    """Make a trainer with these settings, on the CPU if there is no GPU.

    On a GPU "auto" is 16-mixed and benchmark, as suits a T4. On a CPU "auto" is
    deterministic, and bf16-mixed if the CPU computes bfloat16, else 32-true. Settings
    that need a GPU are changed on a machine without one, with one line in the log.

    Args:
        enable_checkpointing: None enables it if a callback saves checkpoints; False
            drops these callbacks.
        enable_progress_bar: None enables it if a callback draws a progress bar; False
            drops these callbacks.
        settings: other arguments of `lightning.pytorch.Trainer`.
    """
    has_gpu = torch.cuda.is_available()
    wanted: dict[str, object] = {
        "accelerator": accelerator,
        "precision": precision,
        "benchmark": benchmark,
        "deterministic": deterministic,
    }
    on_gpu = has_gpu and accelerator in (*GPU_NAMES, "auto")
    chosen = {
        name: _automatic(name, on_gpu=on_gpu) if value == "auto" else value
        for name, value in wanted.items()
    }
    if not has_gpu:
        changes = without_gpu(chosen, devices=settings.get("devices", 1))
        if changes:
            shown = [
                f"{k} {chosen.get(k, settings.get(k))} -> {changes[k]}" for k in changes
            ]
            log.warning("trainer: no GPU on this machine: %s", ", ".join(shown))
            settings = {
                **settings,
                **{k: changes[k] for k in changes if k not in chosen},
            }
            chosen = {k: changes.get(k, value) for k, value in chosen.items()}
    enabled = {Checkpoint: enable_checkpointing, ProgressBar: enable_progress_bar}
    dropped = tuple(kind for kind, is_on in enabled.items() if is_on is False)
    callbacks = [each for each in callbacks if not isinstance(each, dropped)]
    has = {kind: any(isinstance(c, kind) for c in callbacks) for kind in enabled}
    return Trainer(
        callbacks=callbacks,
        enable_checkpointing=enable_checkpointing or has[Checkpoint],
        enable_progress_bar=enable_progress_bar or has[ProgressBar],
        logger=list(logger) or False,
        **{**settings, **chosen},  # type: ignore[arg-type]  # checked by Lightning
    )


def _automatic(name: str, *, on_gpu: bool) -> object:
    gpu, cpu = {
        "accelerator": ("gpu", "cpu"),
        "precision": ("16-mixed", "bf16-mixed" if has_bf16() else "32-true"),
        "benchmark": (True, False),
        "deterministic": (False, True),
    }[name]
    return gpu if on_gpu else cpu


def has_bf16() -> bool:
    """Return True if this CPU multiplies bfloat16 in hardware.

    That is about twice as fast as float32. Other CPUs emulate it, which is slower.
    """
    found = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(found)


def without_gpu(settings: dict[str, object], *, devices: object) -> dict[str, object]:
    """Return the settings that must change on a machine without a GPU.

    >>> asked = {"accelerator": "gpu", "precision": "16-mixed", "benchmark": True}
    >>> without_gpu(asked, devices=1)
    {'accelerator': 'cpu', 'precision': '32-true', 'benchmark': False}
    >>> without_gpu({"accelerator": "cpu", "precision": "32-true"}, devices=1)
    {}
    """
    if settings["accelerator"] not in GPU_NAMES:
        return {}
    changes: dict[str, object] = {"accelerator": "cpu"}
    if settings["precision"] == "16-mixed":
        changes["precision"] = "32-true"
    if settings.get("benchmark"):
        changes["benchmark"] = False
    if devices != 1:
        changes["devices"] = 1
    return changes

"""Weight decay by parameter, and the learning rate as a function of the step.

Both are pure functions, so a resumed or a longer training computes them again.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn


def parameter_groups(
    parameters: Iterable[nn.Parameter], *, weight_decay: float
) -> list[dict[str, object]]:
    """Return AdamW's groups: matrices and kernels decay, biases and norms do not."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return [
        {
            "name": "kernels",
            "params": [parameter for parameter in trained if parameter.ndim > 1],
            "weight_decay": weight_decay,
        },
        {
            "name": "biases",
            "params": [parameter for parameter in trained if parameter.ndim <= 1],
            "weight_decay": 0.0,
        },
    ]


def may_fuse(precision: str) -> bool:
    """Return True if a fused optimiser step is possible with this precision.

    Under mixed precision Lightning refuses to clip gradients for a fused optimiser,
    even if it does not scale the loss.

    >>> may_fuse("32-true"), may_fuse("bf16-mixed"), may_fuse("16-mixed")
    (True, False, False)
    """
    return not precision.endswith("-mixed")


def warmup_cosine(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """Return a step's learning rate factor: linear from 0 to 1, then half a cosine.

    >>> [warmup_cosine(s, warmup_steps=2, total_steps=6) for s in (0, 1, 2, 4, 6, 7)]
    [0.5, 1.0, 1.0, 0.5, 0.0, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def make_schedule(
    optimizer: torch.optim.Optimizer, *, warmup_fraction: float, total_steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Return `warmup_cosine` as a scheduler that steps after each optimiser step.

    Its state is the step only, so a checkpoint can resume with another total.
    """
    warmup_steps = round(warmup_fraction * total_steps)
    factor: Callable[[int], float] = lambda step: warmup_cosine(  # noqa: E731
        step, warmup_steps=warmup_steps, total_steps=total_steps
    )
    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

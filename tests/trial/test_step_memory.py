"""Predicted peaks against formulas that know the network and nothing of the tracker.

A formula counts what autograd keeps for the backward pass, tensor by tensor, and adds
weights, optimiser state and the batch; docs/packing.md says where each number is from.
"""

import copy
import functools
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.optim import Optimizer

from sweeper.trial import step_memory
from sweeper.trial.step_memory import Step, StepSetup

MIB = 1024**2
WEIGHTS = {"adamw": 3, "momentum": 2, "sgd": 1}  # with the optimiser's state


def _optimizer(name: str, module: nn.Module) -> Optimizer:
    if name == "adamw":
        return torch.optim.AdamW(module.parameters())
    momentum = 0.9 if name == "momentum" else 0.0
    return torch.optim.SGD(module.parameters(), lr=0.1, momentum=momentum)


def _follow(
    module: nn.Module, images: Tensor, *, optimizer: str, precision: str
) -> Step:
    labels = torch.zeros(len(images), dtype=torch.long)
    setup = StepSetup(
        module=module,
        optimizers=[_optimizer(optimizer, module)],
        batch=(images, labels),
        run_step=lambda m, b: F.cross_entropy(m(b[0]), b[1]),  # type: ignore[index]
        precision=precision,
    )
    return step_memory.follow(setup)


def _resnet(blocks: tuple[int, ...], *, is_bottleneck: bool) -> tuple[int, int]:
    """Elements that a ResNet keeps for one image at 224 px, and indices of its pool.

    Each convolution is followed by a batch norm, which keeps its input, and each ReLU
    works in place on what the next convolution keeps (He et al., 2016, table 1).
    """
    kept = 2 * 64 * 112**2 + 64 * 56**2  # stem: convolution, ReLU, pool
    for stage, count in enumerate(blocks):
        width, side = 64 * 2**stage, 56 // 2**stage
        out = 4 * width if is_bottleneck else width
        for block in range(count):
            first = side * 2 if is_bottleneck and stage and not block else side
            if is_bottleneck:
                kept += 2 * width * first**2 + 2 * width * side**2
            else:
                kept += 2 * width * side**2
            kept += 2 * out * side**2
            if not block and (stage or is_bottleneck):
                kept += out * side**2  # the shortcut's convolution
    return kept, 64 * 56**2


RESNETS = {
    "resnet18": (_resnet((2, 2, 2, 2), is_bottleneck=False), 11_689_512),
    "resnet50": (_resnet((3, 4, 6, 3), is_bottleneck=True), 25_557_032),
}


def _resnet_bytes(name: str, *, batch: int, optimizer: str, is_mixed: bool) -> int:
    (kept, indices), weights = RESNETS[name]
    image = 3 * 224**2
    each = (2 if is_mixed else 4) * kept + 8 * indices + 4 * image
    total = batch * each + 4 * weights * WEIGHTS[optimizer]
    if is_mixed:  # half copies of the weights, and of the images
        total += 2 * weights + 2 * batch * image
    return total


def _vit_bytes(*, batch: int, optimizer: str, is_mixed: bool) -> int:
    """ViT-B/16: 12 blocks of width 768 on 197 tokens (Dosovitskiy et al., 2021).

    A block keeps two residuals, two normalised inputs of linear layers, query, key
    and value, the attention's output twice (it is transposed), and the two sides of
    the GELU, four times as wide. Residuals stay in single precision.
    """
    weights = 86_567_656
    wide = 2 + 3 + 2 + 8  # in half precision where mixed
    token = 768 * ((2 * wide if is_mixed else 4 * wide) + 4 * 2)
    total = batch * (12 * 197 * token + 4 * 3 * 224**2)
    total += 4 * weights * WEIGHTS[optimizer]
    return total + (2 * weights if is_mixed else 0)


@functools.lru_cache(maxsize=1)
def _built(name: str) -> nn.Module:
    """A network of torchvision; its weights take longer to draw than to follow."""
    module: nn.Module = pytest.importorskip("torchvision").models.get_model(name)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
@pytest.mark.parametrize("optimizer", sorted(WEIGHTS))
@pytest.mark.parametrize(
    ("name", "batch"),
    [
        ("resnet18", 64),
        pytest.param("resnet50", 32, marks=pytest.mark.long),
        pytest.param("vit_b_16", 32, marks=pytest.mark.long),
    ],
)
def test_a_network_takes_what_its_layers_keep(
    name: str, batch: int, optimizer: str, precision: str
) -> None:
    found = _follow(
        copy.deepcopy(_built(name)),
        torch.zeros(batch, 3, 224, 224),
        optimizer=optimizer,
        precision=precision,
    )
    is_mixed = precision == "16-mixed"
    if name in RESNETS:
        expected = _resnet_bytes(
            name, batch=batch, optimizer=optimizer, is_mixed=is_mixed
        )
    else:
        expected = _vit_bytes(batch=batch, optimizer=optimizer, is_mixed=is_mixed)
    row = f"{name} {batch} {optimizer} {precision}"
    print(f"{row}: {found.peak_bytes / MIB:.0f} {expected / MIB:.0f}")  # for the docs
    assert found.peak_bytes == pytest.approx(expected, rel=0.1)
    assert found.parameters == sum(p.numel() for p in _built(name).parameters())


@pytest.mark.parametrize(
    ("optimizer", "precision", "copies"),
    # Weights, gradients and state; AdamW's foreach form has the square roots besides.
    # Where a step keeps nothing, the backward pass is the peak: weights, and the half
    # gradient of the largest layer, 80 % of them, beside what it becomes.
    [
        ("adamw", "32-true", 5),
        ("adamw", "16-mixed", 5),
        ("momentum", "32-true", 3),
        ("momentum", "16-mixed", 3),
        ("sgd", "32-true", 2),
        ("sgd", "16-mixed", 1 + 1.5 * 0.8),
    ],
)
def test_a_large_mlp_takes_its_weights_so_many_times(
    optimizer: str, precision: str, copies: float
) -> None:
    widths = (1024, 4096, 4096, 10)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    module = nn.Sequential(*layers)
    weights = sum(a * b + b for a, b in pairwise(widths))
    found = _follow(
        module, torch.zeros(8, 1024), optimizer=optimizer, precision=precision
    )
    assert found.peak_bytes == pytest.approx(4 * weights * copies, rel=0.1)


def test_a_wide_batch_takes_its_activations() -> None:
    module = nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()
    )
    batch = 50_000
    found = _follow(
        module, torch.zeros(batch, 64), optimizer="sgd", precision="32-true"
    )
    # Input, two ReLU outputs that are kept, the log-softmax; then the gradients of
    # the log-softmax and of the logits while the first of them is still there.
    kept = 64 + 256 * 2 + 256
    assert found.peak_bytes >= 4 * batch * kept
    assert found.peak_bytes <= 4 * batch * (kept + 3 * 256)


def test_flops_are_three_times_those_of_the_forward_pass() -> None:
    module = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    found = _follow(module, torch.zeros(32, 64), optimizer="sgd", precision="32-true")
    forward = 2 * 32 * (64 * 256 + 256 * 10)
    # The input needs no gradient: one product less.
    assert found.flops == 3 * forward - 2 * 32 * 64 * 256


def test_a_step_that_is_really_run_takes_the_same_memory() -> None:
    def measure(*, is_fake: bool) -> int:
        module = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
        setup = StepSetup(
            module=module,
            optimizers=[torch.optim.AdamW(module.parameters())],
            batch=(torch.zeros(128, 64), torch.zeros(128, dtype=torch.long)),
            run_step=lambda m, b: F.cross_entropy(m(b[0]), b[1]),  # type: ignore[index]
            precision="32-true",
            is_fake=is_fake,
        )
        return step_memory.follow(setup).peak_bytes

    assert measure(is_fake=False) == pytest.approx(measure(is_fake=True), rel=0.02)


@pytest.mark.parametrize("is_accumulating", [False, True])
def test_gradients_that_are_kept_count_beside_the_activations(
    is_accumulating: bool,
) -> None:
    module = nn.Sequential(*(nn.Linear(512, 512) for _ in range(4)))
    images = torch.zeros(4096, 512)
    setup = StepSetup(
        module=module,
        optimizers=[torch.optim.SGD(module.parameters(), lr=0.1)],
        batch=images,
        run_step=lambda m, b: m(b).mean(),  # type: ignore[arg-type]
        precision="32-true",
        keeps_gradients=is_accumulating,
    )
    found = step_memory.follow(setup)
    weights = 4 * 4 * (512 * 512 + 512)
    activations = 4 * 4096 * 512 * 5
    assert found.peak_bytes >= activations + weights * (2 if is_accumulating else 1)

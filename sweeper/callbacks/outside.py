"""State of a fit that no `state_dict` holds, taken and put back.

Attributes of the module, its submodules, the callbacks and the data are compared with
what they were as training began; what differs belongs to a checkpoint. What is equal
does not: an edit of the config may change it between two starts.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics import Metric

from sweeper.callbacks import randomness, values

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

log = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, str]  # owner, attribute
Base: TypeAlias = Mapping[Key, object]
Saved: TypeAlias = dict[Key, Any]

SMALL = ("data", "trainer")  # owners of which only scalars are kept
GRAD = ".requires_grad"
TRAINER = (
    *("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"),
    *("check_val_every_n_epoch", "limit_train_batches", "limit_val_batches"),
    "reload_dataloaders_every_n_epochs",
)
PROCESS: Mapping[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "grad_enabled": (torch.is_grad_enabled, torch._C._set_grad_enabled),
    "default_dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "deterministic": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "matmul_precision": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "autocast_cpu": (
        lambda: torch.is_autocast_enabled("cpu"),
        lambda value: torch.set_autocast_enabled("cpu", value),
    ),
    "autocast_cuda": (
        lambda: torch.is_autocast_enabled("cuda"),
        lambda value: torch.set_autocast_enabled("cuda", value),
    ),
}
HOOKS = (
    *("_forward_hooks", "_forward_pre_hooks"),
    *("_backward_hooks", "_backward_pre_hooks"),
)


def look(trainer: "Trainer") -> Base:
    """Return a fingerprint of everything that training may change."""
    inside = _inside(trainer)
    return {
        (name, attribute): values.fingerprint(value, inside)
        for name, owner in _owners(trainer)
        for attribute, value in _attributes(name, owner)
    }


def take(
    trainer: "Trainer",
    *,
    base: Base,
    kept: Collection[Key] = (),
    owners: tuple[str, ...] = ("",),
) -> Saved:
    """Return what differs from `base`, as plain values.

    Args:
        base: what `look` returned at an earlier time.
        kept: what is taken although it does not differ.
        owners: beginnings of the names of the owners that are looked at.
    """
    inside, saved = _inside(trainer), {}
    for name, owner in _owners(trainer):
        if not name.startswith(owners):
            continue
        for attribute, value in _attributes(name, owner):
            key, mark = (name, attribute), values.fingerprint(value, inside)
            if mark is values.OPAQUE:
                continue
            if key in kept or key not in base or base[key] != mark:
                saved[key] = values.copy(value, inside)
    return saved


def put(trainer: "Trainer", saved: Saved) -> None:
    """Put back what `take` returned, to the owners that are there."""
    owners = dict(_owners(trainer))
    for (name, attribute), value in saved.items():
        owner = owners.get(name)
        if name == "process":
            PROCESS[attribute][1](value)
        elif attribute.endswith(GRAD) and owner is not None:
            parameter = owner._parameters.get(attribute.removesuffix(GRAD))
            if parameter is not None:
                parameter.requires_grad_(value)
        elif owner is not None:
            now = getattr(owner, attribute, None)
            restored = values.restored(now, value)
            if restored is not now:
                setattr(owner, attribute, restored)


def structure(trainer: "Trainer") -> tuple[frozenset[str], int]:
    """Return the names of the parameters and the number of hooks on submodules."""
    module = trainer.lightning_module
    names = frozenset(name for name, _ in module.named_parameters())
    hooks = (len(getattr(m, kind)) for m in module.modules() for kind in HOOKS)
    return names, sum(hooks)


def warn_of_changes(
    old: tuple[frozenset[str], int], new: tuple[frozenset[str], int]
) -> None:
    """Log what training has changed in a way that no resume can repeat."""
    names = sorted(old[0] ^ new[0])
    if names:
        log.warning(
            "resume: training has added, removed or renamed parameters (%s); a "
            "resume builds the module as the target does and cannot repeat that",
            ", ".join(names[:4]) + (", ..." if len(names) > 4 else ""),
        )
    elif new[1] > old[1]:
        log.warning(
            "resume: %d hooks were registered on submodules during training; they are "
            "not in a checkpoint and are missing after a resume",
            new[1] - old[1],
        )


def _owners(trainer: "Trainer") -> Iterator[tuple[str, Any]]:
    """Yield what holds state, with a name that is the same in each attempt."""
    for name, module in trainer.lightning_module.named_modules():
        yield f"module {name}", module
    for index, callback in enumerate(vars(trainer)["callbacks"]):
        if _keeps_nothing(callback):
            yield f"callback {index} {type(callback).__qualname__}", callback
    datamodule = getattr(trainer, "datamodule", None)
    if datamodule is not None:
        yield "datamodule", datamodule
    for index, holder in enumerate(randomness.data(trainer)):
        yield f"data {index} {type(holder).__qualname__}", holder
    yield "trainer", trainer
    yield "process", None


def _attributes(name: str, owner: Any) -> Iterator[tuple[str, Any]]:
    if owner is None:
        yield from ((flag, read()) for flag, (read, _) in PROCESS.items())
        return
    if name == "trainer":
        yield from ((attribute, vars(owner)[attribute]) for attribute in TRAINER)
        return
    if isinstance(owner, nn.Module):
        yield "training", owner.training
        if isinstance(owner, Metric):
            return  # its state is saved by itself
        for attribute, parameter in owner._parameters.items():
            if parameter is not None:
                yield attribute + GRAD, parameter.requires_grad
        for attribute in owner._non_persistent_buffers_set:
            yield attribute, owner._buffers[attribute]
    skipped = _usual(owner) if isinstance(owner, nn.Module) else ()
    for attribute, value in list(vars(owner).items()):
        is_loaders = isinstance(owner, DataLoader) and attribute.startswith("_")
        if is_loaders or (attribute != "_hparams" and attribute in skipped):
            continue
        if not name.startswith(SMALL) or isinstance(value, values.SCALARS):
            yield attribute, value


def _usual(module: nn.Module) -> frozenset[str]:
    """Return the attributes that every module has from its library."""
    bases = type(module).__mro__
    base: Any = next(b for b in bases if b.__name__ in ("LightningModule", "Module"))
    return _names(base)


@cache
def _names(base: Callable[[], object]) -> frozenset[str]:
    return frozenset(vars(base()))


def _keeps_nothing(callback: Any) -> bool:
    """Return whether a callback of the project's has no `state_dict` of its own."""
    package = type(callback).__module__.partition(".")[0]
    base = next(b for b in type(callback).__mro__ if b.__name__ == "Callback")
    is_plain = vars(base)["state_dict"] is getattr(type(callback), "state_dict", None)
    return is_plain and package not in ("lightning", "pytorch_lightning", "sweeper")


def _inside(trainer: "Trainer") -> set[int]:
    """Return the ids of what Lightning saves or makes, whoever else holds it."""
    held: list[object] = [
        *trainer.lightning_module.modules(),
        *trainer.optimizers,
        *(config.scheduler for config in trainer.lr_scheduler_configs),
        *vars(trainer)["callbacks"],
        trainer,
    ]
    return {id(item) for item in held}

"""State of a fit that no `state_dict` holds, saved and put back.

Attributes of the module, its submodules, the callbacks and the data are compared with
their values as training began; those that differ belong to a checkpoint. Equal ones do
not: an edit of the config may change them between two starts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias

from sweeper.trial import values
from sweeper.trial.compat import lightning as compat
from sweeper.trial.compat.torch import unsaved_buffers
from sweeper.trial.exact_resume import randomness, searches
from sweeper.trial.libraries import torch, torchmetrics

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

log = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, str]  # owner, attribute
Base: TypeAlias = Mapping[Key, object]
Saved: TypeAlias = dict[Key, Any]

SCALARS_ONLY = ("data", "trainer")  # owners whose other attributes are not kept
AT_END = ("module", "callback", "datamodule", "process")  # owners that outlive a fit
GRAD = ".requires_grad"
TRAINER = (
    *("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"),
    *("check_val_every_n_epoch", "limit_train_batches", "limit_val_batches"),
    "reload_dataloaders_every_n_epochs",
)
Flag: TypeAlias = tuple[Callable[[], Any], Callable[[Any], object]]


@cache
def flags() -> Mapping[str, Flag]:
    """Return the functions that read and set each flag of the process."""
    return {
        "grad_enabled": (torch.is_grad_enabled, torch.set_grad_enabled),
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
            partial(torch.is_autocast_enabled, "cpu"),
            partial(torch.set_autocast_enabled, "cpu"),
        ),
        "autocast_cuda": (
            partial(torch.is_autocast_enabled, "cuda"),
            partial(torch.set_autocast_enabled, "cuda"),
        ),
    }


def look(trainer: Trainer) -> Base:
    """Return a fingerprint of everything that training may change."""
    inside = _inside(trainer)
    return {
        (name, attribute): values.fingerprint(value, inside)
        for name, owner in _owners(trainer)
        for attribute, value in _attributes(name, owner)
    }


def take(
    trainer: Trainer,
    *,
    base: Base,
    kept: Collection[Key] = (),
    owners: tuple[str, ...] = ("",),
) -> Saved:
    """Return the attributes that differ from `base`, as plain values.

    Args:
        base: return value of an earlier `look`.
        kept: keys to take even if they do not differ.
        owners: beginnings of the names of the owners to compare.
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


def put(trainer: Trainer, saved: Saved) -> None:
    """Put back what `take` returned, to the owners that are there."""
    owners = dict(_owners(trainer))
    for (name, attribute), value in saved.items():
        owner = owners.get(name)
        if name == "process":
            flags()[attribute][1](value)
        elif attribute.endswith(GRAD) and owner is not None:
            parameters = dict(_parameters(owner))
            if attribute.removesuffix(GRAD) in parameters:
                parameters[attribute.removesuffix(GRAD)].requires_grad_(value)
        elif owner is not None:
            now = getattr(owner, attribute, None)
            restored = values.restored(now, value)
            if restored is not now:
                setattr(owner, attribute, restored)


def structure(trainer: Trainer) -> tuple[frozenset[str], int]:
    """Return the names of the parameters and the number of hooks on submodules."""
    module = trainer.lightning_module
    names = frozenset(name for name, _ in module.named_parameters())
    hooks = (
        len(hooks)
        for part in module.modules()
        for kind, hooks in vars(part).items()
        if kind.endswith(("ward_hooks", "ward_pre_hooks"))  # forward, backward
    )
    return names, sum(hooks)


def warn_of_changes(
    old: tuple[frozenset[str], int], new: tuple[frozenset[str], int]
) -> None:
    """Log changes of the structure by training that no resume can repeat."""
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


def _owners(trainer: Trainer) -> Iterator[tuple[str, Any]]:
    """Yield the holders of state, with names that are the same in each attempt."""
    for name, module in trainer.lightning_module.named_modules():
        yield f"module {name}", module
    for index, callback in enumerate(compat.callbacks(trainer)):
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
        yield from ((name, read()) for name, (read, _) in flags().items())
        return
    if name == "trainer":
        yield from ((attribute, vars(owner)[attribute]) for attribute in TRAINER)
        return
    if isinstance(owner, torch.nn.Module):
        yield "training", owner.training
        if isinstance(owner, torchmetrics.Metric):
            return  # its state is saved by itself
        for attribute, parameter in _parameters(owner):
            yield attribute + GRAD, parameter.requires_grad
        for attribute in unsaved_buffers(owner):
            yield attribute, getattr(owner, attribute)
    skipped = _usual(owner) if isinstance(owner, torch.nn.Module) else ()
    for attribute, value in list(vars(owner).items()):
        is_loaders = isinstance(
            owner, torch.utils.data.DataLoader
        ) and attribute.startswith("_")
        if is_loaders or attribute in skipped:
            continue
        if not name.startswith(SCALARS_ONLY) or values.is_scalar(value):
            yield attribute, value


def _parameters(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    return module.named_parameters(recurse=False, remove_duplicate=False)


def _usual(module: torch.nn.Module) -> frozenset[str]:
    """Return the attributes that every module has from torch or Lightning."""
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


def _inside(trainer: Trainer) -> set[int]:
    """Return the ids of objects that Lightning saves or makes, whoever holds them."""
    held: list[object] = [
        *trainer.lightning_module.modules(),
        *trainer.optimizers,
        *(config.scheduler for config in trainer.lr_scheduler_configs),
        *compat.callbacks(trainer),
        trainer,
    ]
    return {id(item) for item in held}


@dataclass(slots=True)
class Tracker:
    """The untracked state of one fit.

    Attributes:
        saved: state from the fit's checkpoint; it is put back at several places, since
            hooks of the fit's start may set the same attributes.
        kept: keys that go into each further checkpoint, changed or not.
        limits: epochs and steps that the fit would train without hooks that move them.
    """

    saved: Saved = field(default_factory=dict)
    kept: set[Key] = field(default_factory=set)
    limits: Mapping[str, int | None] = field(default_factory=dict)
    _moved: Mapping[str, int] = field(default_factory=dict)
    _at_start: Base = field(default_factory=dict)
    _base: Base | None = None
    _structure: tuple[frozenset[str], int] = (frozenset(), 0)

    def load(self, part: Mapping[str, Any]) -> None:
        """Use the state of a checkpoint of the fit."""
        self.saved = dict(part["values"])
        self.kept = set(self.saved)
        self._moved = part["moved"]

    def begin_fit(self, trainer: Trainer) -> None:
        """Look at everything before the first hook of the fit."""
        self._at_start = look(trainer)

    def end_fit_start(self, trainer: Trainer) -> None:
        """Put back the saved state and keep the changes that a search has made."""
        if self.saved:
            # Callbacks check the Trainer's settings as training starts.
            early = {k: v for k, v in self.saved.items() if k[0] != "trainer"}
            put(trainer, early)
        elif any(map(searches.search, compat.callbacks(trainer))):
            owners = ("module", "datamodule")
            self.kept |= set(take(trainer, base=self._at_start, owners=owners))
        for name, steps in self._moved.items():
            holder = _holder(trainer, name)
            if (getattr(holder, name) or -1) > 0:
                setattr(holder, name, getattr(holder, name) + steps)

    def begin_training(self, trainer: Trainer) -> None:
        """Look again before the first epoch or batch, then put back the saved state."""
        self._base = look(trainer)
        self._structure = structure(trainer)
        self.limits = _limits(trainer)
        put(trainer, self.saved)

    def take(self, trainer: Trainer) -> dict[str, Any]:
        """Return the changes by training, for a checkpoint."""
        base = {} if self._base is None else self._base
        now = _limits(trainer)
        moved = {
            name: count - before + self._moved.get(name, 0)
            for name, before in self.limits.items()
            if before is not None and (count := now[name]) is not None
        }
        before, self._structure = self._structure, structure(trainer)
        warn_of_changes(before, self._structure)
        return {
            "values": take(trainer, base=base, kept=self.kept),
            "moved": {name: steps for name, steps in moved.items() if steps},
        }

    def take_end(self, trainer: Trainer) -> Saved:
        """Return the changes by the whole fit, for a start that does not train."""
        base = self._at_start
        return take(trainer, base=base, kept=self.kept, owners=AT_END)


def _limits(trainer: Trainer) -> dict[str, int | None]:
    """Return the epochs and steps that a fit would train; None for no limit."""
    names = ("max_epochs", "max_steps")
    limits = {name: getattr(_holder(trainer, name), name) for name in names}
    return {name: n if (n or -1) > 0 else None for name, n in limits.items()}


def _holder(trainer: Trainer, name: str) -> Any:
    loop = trainer.fit_loop
    return loop if name == "max_epochs" else loop.epoch_loop

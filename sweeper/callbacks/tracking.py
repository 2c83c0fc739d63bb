"""Changes that the running fit has made outside of `state_dict`, kept over a resume."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sweeper.callbacks import finders, outside
from sweeper.callbacks.outside import Base, Key, Saved

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

AT_END = ("module", "callback", "datamodule", "process")  # owners that outlive a fit


@dataclass(slots=True)
class Tracker:
    """The state outside of one fit.

    Attributes:
        saved: what the fit's checkpoint holds; it is put back at several places, since
            hooks of the fit's start may set the same attributes.
        kept: what goes into each further checkpoint, changed or not.
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
        """Take what a checkpoint of the fit holds."""
        self.saved = dict(part["values"])
        self.kept = set(self.saved)
        self._moved = part["moved"]

    def begin_fit(self, trainer: "Trainer") -> None:
        """Look at everything before the first hook of the fit."""
        self._at_start = outside.look(trainer)

    def end_fit_start(self, trainer: "Trainer") -> None:
        """Put back what is saved and keep what a search has found."""
        if self.saved:
            # Callbacks check the Trainer's settings as training starts.
            early = {k: v for k, v in self.saved.items() if k[0] != "trainer"}
            outside.put(trainer, early)
        elif any(map(finders.search, vars(trainer)["callbacks"])):
            owners = ("module", "datamodule")
            self.kept |= set(outside.take(trainer, base=self._at_start, owners=owners))
        loop: Any = trainer.fit_loop
        for name, steps in self._moved.items():
            holder = _holder(loop, name)
            if (vars(holder)[name] or -1) > 0:
                vars(holder)[name] += steps

    def begin_training(self, trainer: "Trainer") -> None:
        """Look again before the first epoch or batch, then put back what is saved."""
        self._base = outside.look(trainer)
        self._structure = outside.structure(trainer)
        self.limits = _limits(trainer)
        outside.put(trainer, self.saved)

    def take(self, trainer: "Trainer") -> dict[str, Any]:
        """Return what training has changed, for a checkpoint to go on from."""
        base = {} if self._base is None else self._base
        now = _limits(trainer)
        moved = {
            name: count - before + self._moved.get(name, 0)
            for name, before in self.limits.items()
            if before is not None and (count := now[name]) is not None
        }
        structure = outside.structure(trainer)
        outside.warn_of_changes(self._structure, structure)
        self._structure = structure  # warns once
        return {
            "values": outside.take(trainer, base=base, kept=self.kept),
            "moved": {name: steps for name, steps in moved.items() if steps},
        }

    def take_end(self, trainer: "Trainer") -> Saved:
        """Return what the whole fit has changed, for a start that does not train."""
        base = self._at_start
        return outside.take(trainer, base=base, kept=self.kept, owners=AT_END)


def _limits(trainer: "Trainer") -> dict[str, int | None]:
    limits = {
        name: vars(_holder(trainer.fit_loop, name))[name]
        for name in ("max_epochs", "max_steps")
    }
    return {
        name: limit if (limit or -1) > 0 else None for name, limit in limits.items()
    }


def _holder(fit_loop: Any, name: str) -> Any:
    return fit_loop if name == "max_epochs" else fit_loop.epoch_loop

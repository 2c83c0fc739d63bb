"""A callback that says on which card a fit ran, from when until when."""

import json
import os
import time

from lightning.pytorch import Callback, LightningModule, Trainer

import sweeper

PATIENCE_SECONDS = 60.0


class Whereabouts(Callback):
    """Writes card, share, begin and end of the fit to the trial's folder.

    Trials with a part of a card wait until two of the sweep have met on one.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The trial has its card."""
        spec = json.loads((sweeper.trial_dir() / "spec.json").read_text())
        self._share = float(spec["gpus"])
        self._begin = time.time()
        self._card = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        (sweeper.trial_dir() / "card").write_text(self._card)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """It leaves."""
        folder = sweeper.trial_dir()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._share < 1 and not (folder.parent / "met").exists():
            cards = [path.read_text() for path in folder.parent.glob("*/card")]
            if cards.count(self._card) > 1 or time.monotonic() > deadline:
                (folder.parent / "met").touch()
            time.sleep(0.05)
        line = json.dumps([self._card, self._share, self._begin, time.time()])
        (folder / "whereabouts.json").write_text(line)
        (folder / "card").unlink()

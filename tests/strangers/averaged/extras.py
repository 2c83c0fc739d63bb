"""Callbacks of the project's own: an average of the weights, and a diary."""

import torch
from lightning.pytorch import Callback


class Ema(Callback):
    """Validates with an exponential average of the weights."""

    def __init__(self, decay):
        self.decay = decay
        self.average = None
        self.raw = None

    def on_fit_start(self, trainer, module):
        self.average = {k: v.clone() for k, v in module.state_dict().items()}

    def on_train_batch_end(self, trainer, module, *args):
        for name, value in module.state_dict().items():
            self.average[name].lerp_(value, 1 - self.decay)

    def on_validation_start(self, trainer, module):
        self.raw = {k: v.clone() for k, v in module.state_dict().items()}
        module.load_state_dict(self.average)

    def on_validation_end(self, trainer, module):
        module.load_state_dict(self.raw)

    def state_dict(self):
        return {"average": self.average}

    def load_state_dict(self, state):
        self.average = {k: torch.clone(v) for k, v in state["average"].items()}


class Journal(Callback):
    """Remembers the accuracy of each epoch."""

    def __init__(self):
        self.seen = {}

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            accuracy = trainer.callback_metrics["val/acc"].item()
            self.seen[trainer.current_epoch] = accuracy

    def state_dict(self):
        return {"seen": dict(self.seen)}

    def load_state_dict(self, state):
        self.seen = dict(state["seen"])

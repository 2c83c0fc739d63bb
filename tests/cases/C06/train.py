"""Two ModelCheckpoints with one file name in two folders; the trial is killed once."""

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from toy import QUIET, DieOnce, Net, digest, loaders, note

ACC = [0.5, 0.9, 0.6, 0.7, 0.6]  # best in epoch 2
LOSS = [1.0, 0.9, 0.8, 0.1, 0.7]  # best in epoch 4


class Scripted(Net):
    def validation_step(self, batch, _):
        self.log("val/acc", ACC[self.current_epoch])
        self.log("val/loss", LOSS[self.current_epoch])


class Weights(L.Callback):
    def __init__(self):
        self.digests = {}

    def on_validation_end(self, trainer, module):
        self.digests[trainer.current_epoch + 1] = digest(module)

    def state_dict(self):
        return self.digests

    def load_state_dict(self, state):
        self.digests = dict(state)


def main(cfg):
    loss = ModelCheckpoint("ckpt/loss", "best", monitor="val/loss", mode="min")
    acc = ModelCheckpoint("ckpt/acc", "best", monitor="val/acc", mode="max")
    weights = Weights()
    callbacks = [loss, acc, weights, DieOnce(4)]
    trainer = L.Trainer(max_epochs=5, callbacks=callbacks, **QUIET)
    trainer.fit(Scripted(cfg.lr), *loaders())
    note(acc=acc.best_model_path, digests=weights.digests)

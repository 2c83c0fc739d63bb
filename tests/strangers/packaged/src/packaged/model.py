"""A network that counts the batches it has seen in its life."""

import lightning as L
import torch


class Counting(L.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.layer = torch.nn.Linear(4, 2)
        self.register_buffer("seen", torch.zeros(()))

    def training_step(self, batch, _):
        x, y = batch
        self.seen += 1
        return torch.nn.functional.cross_entropy(self.layer(x), y)

    def validation_step(self, batch, _):
        x, y = batch
        self.log("valid_loss", torch.nn.functional.cross_entropy(self.layer(x), y))
        self.log("seen", self.seen)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)

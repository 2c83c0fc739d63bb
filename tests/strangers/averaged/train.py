"""Averaged weights, callbacks of its own, and a metric with a slash in a file name."""

import hydra
import lightning as L
import torch
from hydra.utils import instantiate
from torch.utils.data import DataLoader, TensorDataset


class Net(L.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)
        )

    def training_step(self, batch, _):
        x, y = batch
        return torch.nn.functional.cross_entropy(self.layers(x), y)

    def validation_step(self, batch, _):
        x, y = batch
        right = (self.layers(x).argmax(1) == y).float().mean()
        self.log("val/acc", right, batch_size=len(y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def data(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(96, 6, generator=generator)
    noise = torch.randn(96, generator=generator)
    return TensorDataset(x, (x[:, 0] * x[:, 1] + 0.5 * noise > 0).long())


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    L.seed_everything(cfg.seed)
    trainer = L.Trainer(
        max_epochs=cfg.epochs,
        accelerator="cpu",
        callbacks=[instantiate(node) for node in cfg.callbacks.values()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loaders = DataLoader(data(0), 32, shuffle=True), DataLoader(data(1), 32)
    trainer.fit(Net(cfg.lr), *loaders)


if __name__ == "__main__":
    main()

"""A script of functions: @hydra.main, W&B, a relative dirpath, ckpt_path="last"."""

import hydra
import lightning as L
import torch
import wandb
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DataLoader, TensorDataset

OmegaConf.register_new_resolver("double", lambda x: 2 * x, replace=True)


class Net(L.LightningModule):
    def __init__(self, net, lr, momentum):
        super().__init__()
        self.save_hyperparameters()  # with the module in it
        self.net = net
        self.lr, self.momentum = lr, momentum

    def step(self, batch, name):
        x, y = batch
        out = self.net(x)
        loss = torch.nn.functional.cross_entropy(out, y)
        accuracy = (out.argmax(1) == y).float().mean()
        self.log(f"{name}/loss", loss, on_step=name == "train", on_epoch=True)
        self.log(f"{name}/acc", accuracy, on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch, _):
        return self.step(batch, "train")

    def validation_step(self, batch, _):
        self.step(batch, "val")

    def test_step(self, batch, _):
        self.step(batch, "test")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=self.momentum)


def loaders(batch_size):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(96, 8, generator=generator)
    y = (x.sum(1) > 0).long()
    data = TensorDataset(x, y)
    return DataLoader(data, batch_size, shuffle=True), DataLoader(data, batch_size)


@hydra.main(config_path="conf", config_name="config", version_base=None)
def main(cfg: DictConfig) -> float:
    L.seed_everything(cfg.seed)
    net = Net(hydra.utils.instantiate(cfg.model), cfg.optim.lr, cfg.optim.momentum)
    train, val = loaders(cfg.batch_size)
    best = ModelCheckpoint(
        dirpath=cfg.checkpoints, monitor="val/acc", mode="max", save_last=True
    )
    logger = WandbLogger(project=cfg.project, group="", tags=[], save_dir=cfg.out)
    trainer = L.Trainer(
        max_epochs=cfg.epochs,
        logger=logger,
        callbacks=[best, EarlyStopping("val/acc", mode="max", patience=50)],
        log_every_n_steps=1,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(net, train, val, ckpt_path="last")
    trainer.test(net, val, ckpt_path="best")
    wandb.finish()
    return trainer.callback_metrics["test/acc"].item()


if __name__ == "__main__":
    main()

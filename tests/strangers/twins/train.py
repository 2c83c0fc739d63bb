"""A project that may draw without a seed, or count what no checkpoint holds."""

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

SEEN = [0]  # steps of this process, in no checkpoint


class Noisy(Dataset):
    def __init__(self, is_seeded):
        self.is_seeded = is_seeded

    def __len__(self):
        return 8

    def __getitem__(self, index):
        seed = index if self.is_seeded else np.random.default_rng().integers(2**31)
        generator = torch.Generator().manual_seed(int(seed))
        return torch.randn(4, generator=generator), torch.tensor([float(index % 2)])


class Net(L.LightningModule):
    def __init__(self, is_forgetful):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.is_forgetful = is_forgetful

    def training_step(self, batch, _):
        SEEN[0] += 1
        scale = SEEN[0] if self.is_forgetful else 1.0
        loss = scale * torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def main(cfg):
    L.Trainer(max_epochs=3, logger=False, enable_progress_bar=False).fit(
        Net(cfg.is_forgetful), DataLoader(Noisy(cfg.is_seeded), 2, shuffle=True)
    )

"""Loaders and downloads that fail, behind what the libraries make of it."""

import os
import signal
from pathlib import Path

import hydra
import lightning as L
import torch
from omegaconf import DictConfig
from torch.utils.data import DataLoader, Dataset
from toy import QUIET, Net, data

import sweeper


class Rows(Dataset[tuple[torch.Tensor, ...]]):
    def __init__(self, how: str, mark: Path) -> None:
        self.rows, self.how, self.mark = data(96), how, mark

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        if index == 40 and self.how == "raises_a":
            {"suffix": 1}["label"]
        if index == 40 and self.how == "raises_b":
            {"suffix": 1}["colour"]
        if index == 40 and self.how == "killed" and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.rows[index]


class Downloaded(Rows):
    def __init__(self, how: str, mark: Path) -> None:
        raise ConnectionError("the server of the data set does not answer")


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> None:
    mark = sweeper.trial_dir() / "once"
    name = "Downloaded" if cfg.how == "download" else "Rows"
    node = {"data": {"_target_": f"{__name__}.{name}", "how": cfg.how, "mark": mark}}
    rows = hydra.utils.instantiate(node, _convert_="all")["data"]
    train = DataLoader(rows, 16, num_workers=1)
    L.Trainer(max_epochs=2, **QUIET).fit(Net(0.1), train, DataLoader(data(48, 1), 16))


if __name__ == "__main__":
    main()

"""A plain PyTorch loop: it saves its own state and reports each epoch."""

import torch
from omegaconf import DictConfig

import sweeper


def train(cfg: DictConfig) -> None:
    torch.manual_seed(cfg.seed)
    x = torch.randn(64, 4)
    y = x.sum(1, keepdim=True)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg.lr, momentum=cfg.momentum)
    checkpoint = sweeper.trial_dir() / "checkpoints" / "state.pt"
    done = 0
    if checkpoint.exists():  # an earlier start was stopped
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done = state["epoch"]
    for epoch in range(done + 1, cfg.epochs + 1):
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decision = sweeper.report(epoch, {"loss": loss.item()})
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        unfinished = checkpoint.with_suffix(".new")
        torch.save({**state, "epoch": epoch}, unfinished)
        unfinished.replace(checkpoint)  # whole or not at all
        if decision is not sweeper.Decision.CONTINUE:
            return

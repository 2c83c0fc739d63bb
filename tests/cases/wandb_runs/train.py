"""Targets that log to W&B by themselves."""

import os
import signal
from pathlib import Path

import wandb

import sweeper

FOLDS, STEPS = 3, 4


def folds(cfg):
    """A run for each fold, and one for their mean."""
    scores = []
    for fold in range(FOLDS):
        run = wandb.init(
            project="cv",
            group="mine",
            job_type="fold",
            name=f"fold-{fold}",
            config={"fold": fold},
            tags=["theirs"],
            reinit=True,
        )
        for step in range(STEPS):
            run.log({"fold_loss": cfg.lr / (step + 1) + fold, "fold": fold}, step=step)
            _kill_once(cfg, fold, step)
        run.finish()
        scores.append(cfg.lr / STEPS + fold)
    with wandb.init(project="cv", group="mine", job_type="summary") as run:
        run.log({"cv": sum(scores) / FOLDS})
    sweeper.report(1, {"cv": sum(scores) / FOLDS})


def _kill_once(cfg, fold, step):
    mark = Path(sweeper.trial_dir(), "killed")
    if cfg.kill_in == fold and step == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def named(cfg):
    """One run in a W&B project of the user's own."""
    run = wandb.init(project="theirs", entity="a-team", notes="why", tags=["mine"])
    for epoch in (1, 2, 3):
        run.log({"loss": cfg.lr / epoch, "epoch": epoch})
        print("epoch", epoch)
        sweeper.report(epoch, {"cv": cfg.lr / epoch})


def silent(cfg):
    """A loop that logs nothing to W&B."""
    for epoch in (1, 2):
        sweeper.report(epoch, {"cv": cfg.lr / epoch})


def writer_dies(cfg):
    """W&B's own process is killed in the middle of the training."""
    wandb.init(project="theirs")
    for epoch in (1, 2, 3):
        mark = Path(sweeper.trial_dir(), "killed")
        if epoch == 2 and not mark.exists():
            mark.touch()
            _kill_writer()
        wandb.log({"loss": cfg.lr / epoch, "epoch": epoch})
        sweeper.report(epoch, {"cv": cfg.lr / epoch})


def _kill_writer():
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "cmdline").read_bytes()
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if b"wandb-core" in line and int(parent) == os.getpid():
            os.kill(int(entry.name), signal.SIGKILL)

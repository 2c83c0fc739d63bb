"""A plain loop: it saves its own state and reports each epoch."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import torch
from omegaconf import DictConfig

import sweeper


def train(cfg: DictConfig) -> None:
    """Add `rate` to a sum each epoch, so that a lost or doubled epoch shows."""
    state_file = sweeper.trial_dir() / "state.json"
    state = {"epoch": 0, "total": 0.0}
    parent = sweeper.parent_dir()
    if state_file.exists():
        state = json.loads(state_file.read_text())
    elif parent is not None:
        state = json.loads((parent / "state.json").read_text())
    while state["epoch"] < cfg.epochs:
        begin = time.time()
        time.sleep(cfg.sleep)
        _misbehave(cfg.behaviour, state["epoch"])
        state = {"epoch": state["epoch"] + 1, "total": state["total"] + cfg.rate}
        with (sweeper.trial_dir() / "busy.jsonl").open("a") as file:
            file.write(json.dumps([begin, time.time()]) + "\n")
        value = math.nan if cfg.behaviour == "nan" else state["total"]
        decision = sweeper.report(state["epoch"], {"acc": value})
        temporary = state_file.with_suffix(".new")
        temporary.write_text(json.dumps(state))
        temporary.replace(state_file)
        if decision is not sweeper.Decision.CONTINUE:
            return


def _misbehave(behaviour: str, epoch: int) -> None:
    if behaviour == "raise" or (behaviour == "raise_once" and _is_first("raised")):
        raise ValueError(f"row {time.time_ns()} is broken")
    if behaviour == "oom":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    if behaviour.startswith("need_"):
        _need(float(behaviour.removeprefix("need_")))
    if behaviour == "wrapped_oom":
        _wrap_oom()
    if behaviour == "hang" and epoch == 1:
        while True:
            time.sleep(60)
    if behaviour == "hash":
        (sweeper.trial_dir() / "hash").write_text(str(hash("a")))
    if behaviour == "exit":
        sys.exit(7)
    if behaviour in ("segfault", "kill"):
        number = signal.SIGSEGV if behaviour == "segfault" else signal.SIGKILL
        os.kill(os.getpid(), number)
    if behaviour == "leave_children":
        _leave_children()
    if behaviour.startswith("meet_"):
        _meet(int(behaviour.removeprefix("meet_")))
    if behaviour == "die_once" and epoch == 1 and _is_first("died"):
        os.kill(os.getpid(), signal.SIGKILL)


def _need(share: float) -> None:
    """Run out of memory on less than this share of a card."""
    spec = json.loads((sweeper.trial_dir() / "spec.json").read_text())
    with (sweeper.trial_dir() / "shares").open("a") as file:
        file.write(f"{spec['gpus']}\n")
    if spec["gpus"] < share:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def _is_first(name: str) -> bool:
    """Whether this is asked for the first time in the trial's folder."""
    flag = sweeper.trial_dir() / name
    if flag.exists():
        return False
    flag.touch()
    return True


def _wrap_oom() -> None:
    try:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    except torch.OutOfMemoryError as error:
        raise RuntimeError("the batch is too large") from error


def _leave_children() -> None:
    """Start processes that outlive the trial: one in its group, one that hides."""
    nap = [sys.executable, "-c", "import time; time.sleep(600)"]
    here = subprocess.Popen(nap)
    hidden = subprocess.Popen(nap, start_new_session=True)
    with (sweeper.trial_dir() / "children").open("a") as file:
        file.write(f"{here.pid}\n{hidden.pid}\n")


def _meet(count: int) -> None:
    """Go on once `count` trials have run at the same time, here or before."""
    folder = sweeper.trial_dir()
    marker, seen = folder / "running", folder / "seen"
    marker.touch()
    deadline = time.monotonic() + 60
    most = 0
    while time.monotonic() < deadline:
        most = max(most, len(list(folder.parent.glob("*/running"))))
        seen.write_text(str(most))
        if any(int(s.read_text() or 0) >= count for s in folder.parent.glob("*/seen")):
            break
        time.sleep(0.05)
    time.sleep(0.5)  # one too many would start now
    seen.write_text(str(max(most, len(list(folder.parent.glob("*/running"))))))
    marker.unlink()

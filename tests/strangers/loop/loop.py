"""A plain loop: it saves its own state and reports each epoch."""

import json
import os
import signal
import time

from omegaconf import DictConfig

import sweeper


def train(cfg: DictConfig) -> None:
    """Add `rate` to a sum each epoch, so that a lost or doubled epoch shows."""
    state_file = sweeper.trial_dir() / "state.json"
    state = {"epoch": 0, "total": 0.0}
    if state_file.exists():
        state = json.loads(state_file.read_text())
    while state["epoch"] < cfg.epochs:
        begin = time.time()
        time.sleep(cfg.sleep)
        _misbehave(cfg.behaviour, state["epoch"])
        state = {"epoch": state["epoch"] + 1, "total": state["total"] + cfg.rate}
        with (sweeper.trial_dir() / "busy.jsonl").open("a") as file:
            file.write(json.dumps([begin, time.time()]) + "\n")
        decision = sweeper.report(state["epoch"], {"acc": state["total"]})
        temporary = state_file.with_suffix(".new")
        temporary.write_text(json.dumps(state))
        temporary.replace(state_file)
        if decision is not sweeper.Decision.CONTINUE:
            return


def _misbehave(behaviour: str, epoch: int) -> None:
    if behaviour == "raise":
        raise ValueError("a row is broken")
    if behaviour == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour.startswith("meet_"):
        _meet(int(behaviour.removeprefix("meet_")))
    if behaviour == "die_once" and epoch == 1:
        flag = sweeper.trial_dir() / "died"
        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)


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

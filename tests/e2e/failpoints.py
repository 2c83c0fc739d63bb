"""Kills everything of a sweep at a chosen moment, in the processes of the sweep.

`install` puts a copy of this file on PYTHONPATH as `sitecustomize`, which Python
imports by itself: each process of a sweep gets an audit hook, to which Python tells of
every file that is opened or renamed and of every process that is started, before it
happens. `FAILPOINT` names the moment. Nothing of sweeper knows of it. `COUNT_ONLY`
names none: it notes each moment that is reached, so that one is drawn that will be.
"""

import json
import os
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path

POINT, _, COUNT = os.environ.get("FAILPOINT", "").partition(":")
TRIALS, EPOCHS = json.loads(os.environ.get("FAILPOINT_SWEEP", "[0, 0]"))
POINTS = (
    *("lock", "admit", "template", "ray", "append", "torn append"),
    *("checkpoint", "rename", "last finish", "result"),
)
COUNT_ONLY = "count"
REACHED = "reached"  # file of the moments that were counted, beside the copy
seen = 0


def install(folder: Path, *, point: str, trials: int, epochs: int) -> dict[str, str]:
    """The environment of a driver that has the failpoint.

    Args:
        folder: takes the copy.
        point: one of `POINTS`; "append:7" is the seventh time in one process.
        trials: of the whole sweep, for "last finish".
        epochs: of each trial.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(__file__, folder / "sitecustomize.py")
    others = os.environ.get("PYTHONPATH", "")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), others])),
        "FAILPOINT": point,
        "FAILPOINT_SWEEP": json.dumps([trials, epochs]),
    }


def reached(folder: Path) -> dict[str, int]:
    """How often a run with `COUNT_ONLY` met each point, at most, in one process."""
    lines = (folder / REACHED).read_text().splitlines()
    found: dict[str, int] = {}
    for line, count in Counter(lines).items():
        point = line.partition(" ")[2]
        found[point] = max(count, found.get(point, 0))
    if "append" in found:
        found["last finish"] = 1
    return found


def kill_everything() -> None:
    """SIGKILL the driver, all that it has started, and this process last."""
    scratch = os.environ.get("SWEEPER_SCRATCH", "")
    owner = Path(scratch) / "owner.lock"
    pids = {int(json.loads(owner.read_text())["pid"])} if scratch else set()
    mark = f"SWEEPER_SCRATCH={scratch}".encode()
    for entry in Path("/proc").iterdir():
        if scratch and entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    pids.add(int(entry.name))
            except OSError:
                continue
    for pid in pids - {os.getpid()}:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    os.kill(os.getpid(), signal.SIGKILL)


def tear(path: str) -> None:
    """Leave the first half of a file, as a disk may that lost power."""
    with open(path, "rb+") as file:
        file.truncate(os.path.getsize(path) // 2)


def is_last_finish(journal: str) -> bool:
    """Whether what is written next ends the last trial."""
    file = Path(journal)
    lines = file.read_bytes().splitlines() if file.exists() else []
    records = [json.loads(line) for line in lines]
    ended = sum(r["op_code"] == 6 and r["state"] == 1 for r in records)
    last = {r["trial_id"] for r in records if r["op_code"] == 7 and r["step"] == EPOCHS}
    return ended == TRIALS - 1 and len(last) == TRIALS


def moments(event: str, arguments: tuple) -> list[str]:
    """The points that are just before this event."""
    first = arguments[0] if arguments else ""
    path = os.fsdecode(first) if isinstance(first, str | bytes) else ""
    target = str(arguments[1]) if len(arguments) > 1 else ""
    mode = target.replace("b", "") if event == "open" else ""
    is_append = path.endswith("journal.jsonl") and mode == "a"
    is_here = {
        "lock": mode != "" and path.endswith("driver.lock"),
        "admit": event == "os.rename" and target.endswith("experiment.yaml"),
        "template": event == "subprocess.Popen" and "sweeper.trial.zygote" in target,
        "ray": event == "import" and path == "ray",
        "append": is_append,
        "torn append": is_append,
        "checkpoint": ".ckpt." in path and mode == "r+",
        "rename": event == "os.rename" and target.endswith("last.ckpt"),
        "last finish": POINT == "last finish" and is_append and is_last_finish(path),
        "result": event == "os.rename" and target.endswith("result.json"),
    }
    return [point for point in POINTS if is_here[point]]


def note(points: list[str]) -> None:
    """Keep that this process has met the points; whole lines, from many processes."""
    text = "".join(f"{os.getpid()} {point}\n" for point in points)
    file = os.open(
        Path(__file__).with_name(REACHED), os.O_WRONLY | os.O_CREAT | os.O_APPEND
    )
    os.write(file, text.encode())
    os.close(file)


def hook(event: str, arguments: tuple) -> None:
    """Count the moments and act at the chosen one."""
    global seen
    if event not in ("open", "os.rename", "subprocess.Popen", "import"):
        return
    found = moments(event, arguments)
    if found and POINT == COUNT_ONLY:
        note(found)
    if POINT not in found:
        return
    seen += 1
    if seen != int(COUNT or 1):
        return  # too early, or done by this hook itself
    if POINT == "checkpoint":
        tear(os.fsdecode(arguments[0]))
    if POINT == "torn append":
        with open(arguments[0], "a") as file:
            file.write('{"op_code":8,"worker_id":"torn')
    kill_everything()


if POINT:
    sys.addaudithook(hook)

"""`python -m sweeper.memory.child`: predicts trials, each in a process forked for it.

One line of JSON comes in, one line goes out for each trial; what the targets print
goes to standard error.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeper.host import orphans
from sweeper.host.sources import put_on_path
from sweeper.memory import guesses, runs
from sweeper.memory.runs import Seen, StepError
from sweeper.project import importing, job

LIMIT_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to find out.

    Attributes:
        name: what the result calls it.
        is_fake: tensors without storage.
        is_guess: the config's module on made-up batches, not the target.
        has_gpu: whether torch says that there is a GPU.
        only_after: reason of the way before it that makes it worth trying.
    """

    name: str
    is_fake: bool = True
    is_guess: bool = False
    has_gpu: bool = True
    only_after: str = ""


WAYS: Sequence[Way] = (
    Way(name="followed"),
    Way(name="followed", has_gpu=False, only_after="target"),
    Way(name="from the config", is_guess=True, only_after="target"),
    Way(name="measured on the CPU", is_fake=False, only_after="step"),
)


def predict(request: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """What the first way that works finds; else `how` is "none" and `note` says why."""
    notes: list[str] = []
    is_sure = True
    reason = ""
    for way in WAYS:
        if way.only_after and way.only_after != reason:
            continue
        found = _in_child(lambda w=way: _try(request, overrides, w))  # type: ignore[misc]
        if "peak_bytes" in found:
            return {**found, "how": way.name, "note": "; ".join(notes)}
        reason = found["reason"]
        is_sure &= reason != "died"
        if found["note"] not in notes:
            notes.append(found["note"])
    return {"how": "none", "note": "; ".join(notes), "is_sure": is_sure}


def _try(
    request: Mapping[str, Any], overrides: Sequence[str], way: Way
) -> dict[str, Any]:
    """One way, in this process, which is of no use afterwards."""
    try:
        seen = _run(request, overrides, way)
    except StepError as error:
        return {"reason": "step", "note": f"the step cannot be followed: {error}"}
    except Exception as error:  # whatever a target raises
        message = f"{type(error).__name__}: {error}".splitlines()[0]
        return {"reason": "target", "note": message}
    return _flat(seen)


def _run(request: Mapping[str, Any], overrides: Sequence[str], way: Way) -> Seen:
    os.chdir(request["project"])
    with tempfile.TemporaryDirectory(prefix="sweeper-memory-") as folder:
        config = job.compose(
            Path(request["config"]),
            overrides,
            output_dir=Path(folder),
            target=request["target"],
        ).config
        if way.has_gpu:
            runs.pretend_gpu()
        target = guesses.fit if way.is_guess else importing.load(request["target"])
        return runs.run(target, config, folder=Path(folder), is_fake=way.is_fake)


def _flat(seen: Seen) -> dict[str, Any]:
    data = asdict(seen)
    return {**data.pop("step"), **data}


def _in_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` returns in a forked process, which may die or hang."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        code = 1
        with contextlib.suppress(BaseException):
            os.write(write, json.dumps(work()).encode())
            code = 0
        os._exit(code)
    os.close(write)
    deadline = time.monotonic() + LIMIT_SECONDS
    data = b""
    while select.select([read], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(read, 65536)
        if not part:
            break
        data += part
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(read)
    os.waitpid(pid, 0)
    if data:
        found: dict[str, Any] = json.loads(data)
        return found
    late = time.monotonic() >= deadline
    what = f"no step within {LIMIT_SECONDS:.0f} s" if late else "the process died"
    return {"reason": "died", "note": what}


def main() -> None:
    """Read one request from standard input; answer on standard output."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["WANDB_MODE"] = "disabled"
    put_on_path(Path(request["project"]))
    target, project = request["target"], Path(request["project"])
    with contextlib.suppress(Exception):
        importlib.import_module("lightning.pytorch")
    with importing.as_script(target, project):
        with (
            contextlib.suppress(Exception, SystemExit),
            importing.tried(target),
            importing.limited(target),
        ):
            importlib.import_module(target.partition(":")[0])
        # In the driver's scratch folder, which goes with a driver that is killed; a
        # prediction may be killed, too.
        scratch = os.environ.get(orphans.MARK)
        with tempfile.TemporaryDirectory(prefix="sweeper-memory-", dir=scratch) as made:
            tempfile.tempdir = made
            for key, overrides in request["trials"].items():
                answer = {"key": key, **predict(request, overrides)}
                print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

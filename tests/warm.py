"""Modules run in processes that are forked with torch and Lightning imported.

An interpreter of its own for each run would spend nine tenths of its time on imports.
`python -m tests.warm` is the process that forks; `run` starts it once.
"""

import atexit
import functools
import importlib
import json
import os
import random
import runpy
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeper.system import process

ROOT = Path(__file__).parents[1]
PRELOADED = ("lightning.pytorch", "pytorch_lightning", "sweeper.trial.worker")
LIMIT_SECONDS = 600.0


@functools.cache
def _server() -> "subprocess.Popen[str]":
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.warm"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(_end, server)
    return server


def _end(server: "subprocess.Popen[str]") -> None:
    """Close the input of the process that forks, which then ends."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.close()
    server.wait()
    server.stdout.close()


def run(
    module: str, *arguments: str, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module arguments` in a forked process, to its end."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, name)) for name in ("out", "err")]
        words = [module, *arguments]
        request = {"words": words, "env": dict(env), "files": files}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        out, err = (Path(file).read_text(errors="replace") for file in files)
    return subprocess.CompletedProcess(words, code, out, err)


def serve() -> None:
    """Fork for each line of standard input; write the exit code of each process."""
    for name in PRELOADED:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(request)
        killer = threading.Timer(LIMIT_SECONDS, os.kill, (pid, 9))
        killer.start()
        _, status = os.waitpid(pid, 0)
        killer.cancel()
        killer.join()
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _become(request: Mapping[str, Any]) -> None:
    """Be the process of a request, to its end."""
    for descriptor, file in enumerate(request["files"], start=1):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(request["env"])
    random.seed()
    sys.argv = list(request["words"])
    code = 0
    try:
        runpy.run_module(request["words"][0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # as the interpreter does at its end
        traceback.print_exc()
        code = 1
    process.leave(code)


if __name__ == "__main__":
    serve()

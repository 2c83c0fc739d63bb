"""The end of a process: what Python does at its end, but for freeing libraries.

Taking torch apart object by object takes over a second in a trial, where it copies
every page that the zygote shares with its trials.
"""

import atexit
import contextlib
import gc
import os
import sys
import sysconfig
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NoReturn, TextIO

LIBRARIES = tuple(
    sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def leave(code: int) -> NoReturn:
    """End this process as the interpreter would, without taking libraries apart.

    Threads are waited for, exit handlers run (temporary folders, pools and loggers end
    in them), and the modules of the project are dropped: what only they refer to is
    finalized, so that a file that was left open keeps what was written to it.
    """
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # the interpreter calls it
        atexit._run_exitfuncs()
        _drop_project_modules()
        flush()
    finally:  # nothing that a project left behind may keep its process from ending
        os._exit(code)


def _drop_project_modules() -> None:
    """Empty every module outside of the libraries.

    An object is finalized before what its methods may use: a module before those that
    it imports, and its last name first.
    """
    modules = [m for name, m in sys.modules.items() if _is_project(name, m)]
    # In the order in which their imports ended, the last one first.
    for namespace in map(vars, [sys.modules["__main__"], *reversed(modules)]):
        for name in reversed(list(namespace)):
            if name != "__builtins__":
                namespace[name] = None
    gc.collect()


def _is_project(name: str, module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)  # built-in modules have none
    is_ours = name.partition(".")[0] == __name__.partition(".")[0]
    return file is not None and not is_ours and not file.startswith(LIBRARIES)


@contextlib.contextmanager
def forked_here() -> Iterator[None]:
    """End at the end of the block each process that was forked within it.

    A forked process that returns, raises or calls `sys.exit` would else do what only
    the process around the block may do.
    """
    pid, code = os.getpid(), 0
    try:
        yield
    except SystemExit as end:
        if os.getpid() == pid:
            raise
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        if os.getpid() == pid:
            raise
        traceback.print_exc()
        code = 1
    if os.getpid() != pid:
        leave(code)


def flush() -> None:
    """Flush the standard streams, whatever a project put in their place."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or an object without `flush`
            stream.flush()


def restore_streams(stdout: TextIO, stderr: TextIO, *, log: Path) -> None:
    """Put the standard streams of before a target back in place, open.

    Args:
        log: file for the text of a stream that the target closed.
    """
    flush()
    if stdout.closed or stderr.closed:
        path = log if log.exists() else Path(os.devnull)
        # Open until the process ends.
        spare = path.open("a", encoding="utf-8", buffering=1)
        stdout = spare if stdout.closed else stdout
        stderr = spare if stderr.closed else stderr
    sys.stdout, sys.stderr = stdout, stderr

"""Restoring the state of this process after a trial, and ending the process.

A process ends as Python would end it, except that libraries are not freed. Freeing
torch object by object takes over a second in a trial, since it copies every page that
the zygote shares with its trials.
"""

import atexit
import contextlib
import gc
import logging
import os
import signal
import sys
import sysconfig
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import NoReturn, TextIO

LIBRARIES = tuple(
    sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def restore_environment(before: Mapping[str, str]) -> None:
    """Restore the environment; set only what differs, since threads read the rest."""
    for name in set(os.environ) - set(before):
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Restore the state of this process that a trial or W&B changes in the block.

    This is the environment, the working folder, `sys.path`, the root logger, the
    filters of warnings and, in the main thread, the signal handlers.
    """
    environment, folder, path = dict(os.environ), os.getcwd(), list(sys.path)
    log_handlers, log_level = list(logging.root.handlers), logging.root.level
    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        with warnings.catch_warnings():
            yield
    finally:
        restore_environment(environment)
        os.chdir(folder)
        sys.path[:] = path
        logging.root.handlers[:] = log_handlers
        logging.root.setLevel(log_level)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def leave(code: int) -> NoReturn:
    """End this process as the interpreter would."""
    try:
        run_exit_handlers()
        drop_project_modules()
    finally:  # objects that a project leaves must not keep the process alive
        os._exit(code)


def run_exit_handlers() -> None:
    """Wait for threads, then run the exit handlers, as the interpreter does at its end.

    They end temporary folders, pools and loggers.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # the interpreter calls it
    atexit._run_exitfuncs()
    flush()


def drop_project_modules() -> None:
    """Empty every module outside of the libraries.

    Objects that only these modules refer to are finalized, so that a file that was
    left open gets its buffered text.

    An object is finalized before the objects that its methods may use: a module before
    the modules that it imports, and its last name first.
    """
    modules = [m for name, m in sys.modules.items() if _is_project(name, m)]
    # In the order in which their imports ended, the last one first.
    for namespace in map(vars, [sys.modules["__main__"], *reversed(modules)]):
        for name in reversed(list(namespace)):
            if name != "__builtins__":
                namespace[name] = None
    gc.collect()
    flush()


def _is_project(name: str, module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)  # built-in modules have none
    is_ours = name.partition(".")[0] == __name__.partition(".")[0]
    return file is not None and not is_ours and not file.startswith(LIBRARIES)


@contextlib.contextmanager
def forked_here() -> Iterator[None]:
    """End each process that was forked within the block at the end of the block.

    A forked process that returns, raises or calls `sys.exit` would otherwise continue
    with the code after the block, which is for the parent only.
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
    """Restore the standard streams from before a target ran, open.

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

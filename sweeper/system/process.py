"""The state of this process after a trial, and the end of the process.

A process ends as Python would end it, except that libraries are not freed. To free
torch object by object takes over a second in a trial, since it copies every page that
the zygote shares with its trials.
"""

import atexit
import contextlib
import gc
import logging
import os
import signal
import subprocess
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
    """Restore the environment; leave equal variables, which threads may be reading."""
    for name in set(os.environ) - set(before):
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Restore the state that a trial or W&B changes in this process.

    At the end of the block, restore the environment, the working directory, `sys.path`,
    the root logger, the warning filters and, in the main thread, the signal handlers.
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


def await_end(process: "subprocess.Popen[bytes]", *, seconds: float) -> None:
    """Wait for the end of a child process; kill it if that takes longer."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def leave(code: int) -> NoReturn:
    """Run the exit handlers, drop the project's modules and end this process."""
    try:
        run_exit_handlers()
        drop_project_modules()
    finally:  # objects of the project must not keep the process alive
        os._exit(code)


def run_exit_handlers() -> None:
    """Wait for threads, then run the exit handlers, as the interpreter does at its end.

    The handlers close temporary folders, pools and loggers.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # the interpreter calls it
    atexit._run_exitfuncs()
    flush()


def drop_project_modules() -> None:
    """Empty every module of the project, so that its objects are finalized.

    An open file, for example, gets its buffered text. An object is finalized before
    the objects that its methods may use: a module before the modules that it imports,
    and the last name of a module first.
    """
    modules = [m for name, m in sys.modules.items() if _is_project(name, m)]
    # The module whose import ended last comes first.
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
    """End each process that is forked within the block at the end of the block.

    Otherwise a forked process that returns, raises or calls `sys.exit` would run the
    code after the block, which is for the parent only.
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
    """Flush the standard streams, also if a project has replaced them."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or an object without `flush`
            stream.flush()


def restore_streams(stdout: TextIO, stderr: TextIO, *, log: Path) -> None:
    """Restore the standard streams from before a target ran; reopen closed ones.

    Args:
        log: file for the output of a stream that the target closed.
    """
    flush()
    if stdout.closed or stderr.closed:
        path = log if log.exists() else Path(os.devnull)
        # It stays open until the process ends.
        spare = path.open("a", encoding="utf-8", buffering=1)
        stdout = spare if stdout.closed else stdout
        stderr = spare if stderr.closed else stderr
    sys.stdout, sys.stderr = stdout, stderr

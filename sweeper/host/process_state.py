"""The state of this process that a trial or W&B changes, put back afterwards."""

import contextlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping


def restore_environment(before: Mapping[str, str]) -> None:
    """Set only the variables that differ from `before`: threads read the others."""
    for name in set(os.environ) - set(before):
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Put back what a trial sets: the environment, the working folder, `sys.path`, ...

    The signal handlers (in the main thread), the root logger and the filters of
    warnings, too.
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

"""A function that reports two epochs and then ends in the way that `how` names."""

import asyncio
import atexit
import concurrent.futures
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from omegaconf import DictConfig

import sweeper


class WriteOnly:
    """As found in many projects: writes, and can do nothing else."""

    def __init__(self) -> None:
        self.file = (sweeper.trial_dir() / "tee.txt").open("a")

    def write(self, text: str) -> None:
        self.file.write(text)


class Stopped(SystemExit):
    """A project's own way to exit."""


class SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def replace_stdout() -> None:
    sys.stdout = WriteOnly()  # type: ignore[assignment]
    print("through the writer")


def close_both_and_raise() -> None:
    sys.stdout.close()
    sys.stderr.close()
    raise ValueError("no data")


def remove_stdout() -> None:
    sys.stdout = None  # type: ignore[assignment]


def signal_itself(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def leave_thread() -> None:
    threading.Thread(target=time.sleep, args=(3600,)).start()


def throw(error: BaseException) -> NoReturn:
    raise error


def find_label(row: int) -> int:
    return {"suffix": row}["label"]


def use_pool() -> None:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.map(find_label, [1])


def lose_pool() -> None:
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(signal_itself, signal.SIGKILL).result()


def raise_from() -> None:
    try:
        find_label(1)
    except KeyError as error:
        raise ValueError("row 7 of labels.csv") from error


WAYS: dict[str, Callable[[], object]] = {
    "returns": lambda: {"not": "a number"},
    "exit_0": lambda: sys.exit(0),
    "exit_none": lambda: sys.exit(),
    "exit_false": lambda: sys.exit(False),
    "exit_text": lambda: sys.exit("data set is empty"),
    "exit_empty_text": lambda: sys.exit(""),
    "exit_3": lambda: sys.exit(3),
    "exit_137": lambda: sys.exit(137),
    "os_exit_0": lambda: os._exit(0),
    "os_exit_3": lambda: os._exit(3),
    "os_exit_139": lambda: os._exit(139),
    "keyboard": lambda: throw(KeyboardInterrupt()),
    "generator": lambda: throw(GeneratorExit()),
    "cancelled": lambda: throw(asyncio.CancelledError()),
    "base": lambda: throw(BaseException("base")),
    "subclass": lambda: throw(Stopped("enough")),
    "group": lambda: throw(ExceptionGroup("many", [KeyError("label")])),
    "unprintable": lambda: throw(SilentError()),
    "not_utf8": lambda: throw(OSError(f"no file {os.fsdecode(bytes([233]))}")),
    "sigint": lambda: signal_itself(signal.SIGINT),
    "sigterm": lambda: signal_itself(signal.SIGTERM),
    "sigkill": lambda: signal_itself(signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "reads": lambda: input("continue? "),
    "breaks": lambda: breakpoint(),
    "write_only": replace_stdout,
    "closed": lambda: sys.stdout.close(),
    "both_closed": close_both_and_raise,
    "removed": remove_stdout,
    "thread": leave_thread,
    "atexit": lambda: atexit.register(lambda: sys.exit(7)),
    "atexit_raises": lambda: atexit.register(lambda: find_label(1)),
    "atexit_hangs": lambda: atexit.register(lambda: time.sleep(3600)),
    "pool": use_pool,
    "lost_pool": lose_pool,
    "raised_from": raise_from,
}


def main(cfg: DictConfig) -> None:
    for epoch in (1, 2):
        sweeper.report(epoch, {"score": epoch})
    WAYS[cfg.how]()

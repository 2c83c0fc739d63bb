"""A target whose forked processes report, end and hang in many ways."""

import faulthandler
import multiprocessing
import os
import sys
import threading
import time

import sweeper

HELPER = multiprocessing.Manager().dict()  # a process that each trial starts at import


def loop(epochs=3):
    for epoch in range(1, epochs + 1):
        sweeper.report(epoch, {"score": float(epoch)})


def in_fork(function):
    pid = os.fork()
    if pid == 0:
        function()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def watch():
    faulthandler.dump_traceback_later(60)
    faulthandler.cancel_dump_traceback_later()


def os_fork():
    in_fork(loop)


def process():
    child = multiprocessing.get_context("fork").Process(target=loop)
    child.start()
    child.join()
    assert child.exitcode == 0


def watchdog():
    loop(1)
    in_fork(watch)
    loop(3)


def leaves():
    if os.fork() == 0:
        sys.exit(3)
    assert os.wait()[1] >> 8 == 3
    loop()


def raises():
    if os.fork() == 0:
        raise ValueError("of the forked process")
    assert os.wait()[1] >> 8 == 1
    loop()


def returns():
    if os.fork() == 0:
        return
    os.wait()
    loop()


def forks_while_a_thread_reports():
    thread = threading.Thread(target=loop, args=(30,))
    thread.start()
    while thread.is_alive():
        in_fork(watch)
    in_fork(lambda: sweeper.report(31, {"score": 31.0}))


def several():
    start = multiprocessing.Barrier(4)

    def rank():
        start.wait()
        loop(20)
        os._exit(0)

    pids = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            rank()
        pids.append(pid)
    assert not any(os.waitpid(pid, 0)[1] for pid in pids)


def helper():
    HELPER["epochs"] = 3
    loop(HELPER["epochs"])


def spawn():
    child = multiprocessing.get_context("spawn").Process(target=loop)
    child.start()
    child.join()
    assert child.exitcode == 0, "the spawned process failed"


def pauses():
    loop(1)
    in_fork(lambda: sweeper.report(2, {"score": 2.0}))


def hang():
    pid = os.fork()
    time.sleep(600)
    print(pid)


def main(cfg):
    globals()[cfg.how]()

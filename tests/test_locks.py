"""A lock lives exactly as long as its holder."""

import os
import signal
import time
from pathlib import Path

from sweeper.system import locks


def _hold_forever(path: Path) -> int:
    """A child that holds `path` until it is killed; its pid, once it holds."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with locks.hold(path) as other:
            os.write(write, b"1" if other is None else b"0")
            signal.pause()
    assert os.read(read, 1) == b"1"
    return child


def test_a_second_holder_is_told_who_holds(tmp_path: Path) -> None:
    child = _hold_forever(tmp_path / "lock")
    try:
        with locks.hold(tmp_path / "lock") as other:
            assert other is not None
            assert other.pid == child
        assert locks.is_held(tmp_path / "lock")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_killed_holder_holds_no_more(tmp_path: Path) -> None:
    child = _hold_forever(tmp_path / "lock")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not locks.is_held(tmp_path / "lock")
    with locks.hold(tmp_path / "lock") as other:
        assert other is None
        holder = locks.holder(tmp_path / "lock")
        assert holder is not None
        assert holder.pid == os.getpid()


def test_a_waiter_gets_the_lock_when_its_holder_dies(tmp_path: Path) -> None:
    child = _hold_forever(tmp_path / "lock")
    killer = os.fork()
    if killer == 0:
        time.sleep(0.2)
        os.kill(child, signal.SIGKILL)
        os._exit(0)
    with locks.hold(tmp_path / "lock", wait_seconds=10) as other:
        assert other is None
    os.waitpid(killer, 0)
    os.waitpid(child, 0)


def test_a_lock_file_of_another_kind_is_no_holder(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("{broken")
    assert locks.holder(tmp_path / "lock") is None
    assert not locks.is_held(tmp_path / "lock")

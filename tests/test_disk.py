"""A full or read-only disk makes writers wait; nothing is lost or torn."""

import errno
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sweeper.experiment.loading import load
from sweeper.journal import store
from sweeper.journal.journal import Journal
from sweeper.journal.record import State
from sweeper.protocol import Report
from sweeper.system import disk
from sweeper.system.paths import atomic_write
from tests.helpers import open_journal

DISK_BYTES = 512 * 1024
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a tmpfs")
MOUNT, UMOUNT = "/bin/mount", "/bin/umount"


def _mount(*arguments: object) -> None:
    subprocess.run([MOUNT, *map(str, arguments)], check=True)


@contextmanager
def mounted(folder: Path, *, size: int = DISK_BYTES) -> Iterator[Path]:
    """A file system of so many bytes, while the block runs."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run([UMOUNT, "-l", folder], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a mebibyte."""
    with mounted(tmp_path / "small") as folder:
        yield folder


def fill(folder: Path, *, but: int = 0) -> Path:
    """Use all the space of a disk but `but` bytes; the file that does."""
    filler = folder / "filler"
    found = os.statvfs(folder)
    size = found.f_bavail * found.f_frsize - but
    with filler.open("wb", buffering=0) as file:
        assert file.write(b"\0" * size) == size
    return filler


@contextmanager
def _waits(
    caplog: pytest.LogCaptureFixture, work: Callable[[], object]
) -> Iterator[threading.Thread]:
    """Run `work` beside the block, which starts once it waits for the disk."""
    thread = threading.Thread(target=work, daemon=True)
    with caplog.at_level(logging.WARNING):
        thread.start()
        deadline = time.monotonic() + 60
        while "waiting for space" not in caplog.text:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield thread
        thread.join(timeout=60)
    assert not thread.is_alive()


@as_root
def test_a_full_disk_is_told_from_one_with_space(small: Path) -> None:
    assert disk.problem(small) == ""
    filler = fill(small)
    assert disk.problem(small) == "No space left on device"
    assert disk.may_be_full(small)
    filler.unlink()
    assert disk.problem(small) == ""
    assert [path.name for path in small.iterdir()] == []


@as_root
@pytest.mark.parametrize("obstacle", ["full", "read-only"])
def test_a_sweep_that_is_not_yet_there_waits_for_its_disk(
    small: Path, obstacle: str
) -> None:
    folder = small / "sweeps" / "toy"
    if obstacle == "full":
        filler = fill(small)
    else:
        _mount("-o", "remount,ro", small)
    told: list[str] = []
    waiting = threading.Thread(target=disk.wait, args=(disk.made(folder), told.append))
    waiting.start()
    while not told:
        time.sleep(0.01)
    assert "Nothing is lost" in told[0]
    if obstacle == "full":
        filler.unlink()
    else:
        _mount("-o", "remount,rw", small)
    waiting.join(timeout=60)
    assert told[1:] == [disk.RESUMING]
    folder.mkdir(parents=True)
    assert disk.made(folder) == folder


@as_root
def test_a_line_waits_for_space_and_is_whole(
    small: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = small / "lines"
    disk.append(path, b"first\n")
    filler = fill(small, but=4096)  # a part of the line would fit
    line = b"x" * 10_000 + b"\n"
    with _waits(caplog, lambda: disk.append(path, line)):
        assert path.read_bytes() == b"first\n"
        filler.unlink()
    assert path.read_bytes() == b"first\n" + line


@as_root
def test_a_file_waits_for_space_and_the_old_one_stays(
    small: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = small / "checkpoint"
    path.write_bytes(b"old")
    filler = fill(small, but=100 * 1024)
    content = os.urandom(200 * 1024)

    def write(temporary: Path) -> None:
        try:
            temporary.write_bytes(content)
        except OSError:
            raise RuntimeError("torch does not say why") from None

    with _waits(caplog, lambda: atomic_write(path, write)):
        assert path.read_bytes() == b"old"
        filler.unlink()
    assert path.read_bytes() == content
    assert [p.name for p in small.iterdir()] == ["checkpoint"]


def _report(journal: Journal, *, epoch: int, num_metrics: int = 1) -> None:
    metrics = {f"metric {i}": 0.5 for i in range(num_metrics)}
    journal.report(
        "a", Report(epoch=epoch, values=(0.5,), metrics=metrics, busy_seconds=1.0)
    )


@as_root
@pytest.mark.parametrize("obstacle", ["full", "read-only"])
def test_a_journal_waits_for_its_disk_and_loses_nothing(
    small: Path,
    caplog: pytest.LogCaptureFixture,
    obstacle: str,
) -> None:
    journal = open_journal(small)
    assert journal.claim("a") is not None
    identity = journal.start("a").id
    _report(journal, epoch=1)
    if obstacle == "full":
        filler = fill(small, but=4096)
    else:
        _mount("-o", "remount,ro", small)
    text = (small / "toy.yaml").read_text()
    reader = store.Reader(load(small / "toy.yaml"), small / "sweeps" / "toy")
    with _waits(caplog, lambda: _report(journal, epoch=2, num_metrics=1000)):
        assert list(reader.sweep().trials[0].values) == [1]
        if obstacle == "full":
            filler.unlink()
        else:
            _mount("-o", "remount,rw", small)
    assert list(reader.sweep().trials[0].values) == [1, 2]
    journal.finish("a")
    assert (small / "toy.yaml").read_text() == text
    again = open_journal(small)
    assert again.claim("b") is not None
    states = {trial.id: trial.state for trial in reader.sweep().trials}
    assert states[identity] is State.COMPLETE


def test_an_error_that_is_not_the_disks_is_raised_at_once(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("no disk")

    with pytest.raises(RuntimeError, match="no disk"):
        disk.patiently(fail, folder=tmp_path)
    assert not disk.is_full(PermissionError(errno.EACCES, "no"))
    assert disk.is_full(OSError(errno.ENOSPC, "full"))


def test_the_disk_is_found_behind_what_a_project_raised() -> None:
    def save() -> None:
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError as error:
            raise ValueError("cannot save") from error

    with pytest.raises(ValueError, match="cannot save") as caught:
        save()
    assert disk.is_full(caught.value)


def test_a_circle_of_causes_has_an_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert not disk.is_full(one)

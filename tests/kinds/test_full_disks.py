"""Only a full disk of the sweep's own folder pauses a trial."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from sweeper.protocol import TrialSpec
from sweeper.system import disk
from sweeper.trial import worker
from tests.exact.running import make_spec
from tests.test_disk import as_root, fill, mounted

LEFT_BYTES = 100 * 1024  # on the disk: a small file still fits
NUMBERS = 200_000  # of 4 bytes


def _write(path: Path) -> None:
    with path.open("wb") as file:
        file.write(bytes(4 * NUMBERS))


def _write_bytes(path: Path) -> None:
    path.write_bytes(bytes(4 * NUMBERS))


def _save_array(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.zeros(NUMBERS, np.float32))


def _save_tensor(path: Path) -> None:
    torch.save(torch.zeros(NUMBERS), path)


def _save_tensor_by_text(path: Path) -> None:
    torch.save({"weights": torch.zeros(NUMBERS)}, str(path))


def _save_tensor_to_file(path: Path) -> None:
    with path.open("wb") as file:
        torch.save(torch.zeros(NUMBERS), file)


def _copy(path: Path) -> None:
    source = path.parents[2] / "source"
    source.write_bytes(bytes(4 * NUMBERS))
    shutil.copy(source, path)


def _save_checkpoint(path: Path) -> None:
    model: LightningModule = BoringModel()
    model.register_buffer("large", torch.zeros(NUMBERS))
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, max_steps=0
    )
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)


def _wrap(path: Path) -> None:
    try:
        _write(path)
    except OSError as error:
        raise RuntimeError("the cache could not be written") from error


WRITES = (
    *(_write, _write_bytes, _save_array, _save_tensor, _save_tensor_by_text),
    *(_save_tensor_to_file, _copy, _save_checkpoint, _wrap),
)


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "sweep") as folder:
        (folder / "trials" / "a" / "checkpoints").mkdir(parents=True)
        yield folder


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "cache") as folder:
        (folder / "one" / "two").mkdir(parents=True)
        yield folder


def _raised(write: Callable[[Path], None], path: Path) -> BaseException:
    with pytest.raises((OSError, RuntimeError)) as caught:
        write(path)
    return caught.value


@as_root
@pytest.mark.parametrize("write", WRITES)
def test_a_file_that_does_not_fit_is_told_from_one_of_a_full_cache(
    sweep: Path, cache: Path, write: Callable[[Path], None]
) -> None:
    fill(sweep, but=LEFT_BYTES)
    inside = _raised(write, sweep / "trials" / "a" / "checkpoints" / "file")
    assert disk.has_filled(inside, sweep)
    (sweep / "filler").unlink()
    fill(cache, but=LEFT_BYTES)
    outside = _raised(write, cache / "one" / "two" / "file")
    assert not disk.has_filled(outside, sweep)


@as_root
def test_a_disk_that_the_sweep_shares_with_a_full_cache_is_waited_for(
    sweep: Path, cache: Path
) -> None:
    fill(cache)
    error = _raised(_write, cache / "one" / "two" / "file")
    assert not disk.has_filled(error, sweep)
    fill(sweep)
    assert disk.has_filled(error, sweep)


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_an_error_that_names_its_file_is_of_that_file(
    tmp_path: Path, number: int
) -> None:
    own = OSError(number, os.strerror(number), str(tmp_path / "trials" / "a" / "x"))
    other = OSError(number, os.strerror(number), "/mnt/cache/x")
    assert disk.has_filled(own, tmp_path)
    assert not disk.has_filled(other, tmp_path)
    assert not disk.has_filled(FileNotFoundError(2, "none", str(tmp_path)), tmp_path)


def _spec(tmp_path: Path) -> TrialSpec:
    return make_spec(tmp_path / "toy" / "trials" / "a", [])


def test_a_cache_on_a_read_only_disk_is_an_error_of_the_project(
    tmp_path: Path,
) -> None:
    error = OSError(errno.EROFS, os.strerror(errno.EROFS), "/mnt/cache/x")
    ended = worker.ended_by(error, _spec(tmp_path))
    assert (ended.event, ended.kind) == ("failed", "error")
    assert "Read-only file system: '/mnt/cache/x'" in ended.message


def test_a_full_disk_of_the_trial_pauses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "DISK_PAUSE_SECONDS", 0.0)
    spec = _spec(tmp_path)
    Path(spec.folder).mkdir(parents=True)
    error = OSError(errno.ENOSPC, "No space left on device", f"{spec.folder}/x")
    assert worker.ended_by(error, spec).event == "paused"

"""Images decoded once are the images, whoever builds, dies or changes a file."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from sweeper.vision import cache
from sweeper.vision.annotations import Row
from sweeper.vision.dataset import ImageFiles
from tests.vision.test_data import make_data

SIZE = 16


def _rows(folder: Path, count: int = 6) -> list[Row]:
    folder.mkdir(exist_ok=True)
    rows = []
    for index in range(count):
        path = folder / f"{index}.png"
        if not path.exists():
            Image.new("RGB", (20, 10), (index * 30, 90, 200)).save(path)
        rows.append(Row(label="1", place=f"{path}:1", image=path))
    return rows


def _plain(rows: list[Row]) -> torch.Tensor:
    images = ImageFiles(rows, image_size=SIZE)
    return torch.stack([images[index] for index in range(len(rows))])


def _decoded(rows: list[Row], folder: Path) -> torch.Tensor:
    found = cache.decoded(rows, image_size=SIZE, folder=folder)
    assert found is not None
    return found


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    found = (folder / cache.FOLDER).iterdir()
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in found}


def test_mapped_images_are_the_images_and_are_built_once(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    assert torch.equal(_decoded(rows, tmp_path), _plain(rows))
    before = _files(tmp_path)
    assert torch.equal(_decoded(rows, tmp_path), _plain(rows))
    assert _files(tmp_path) == before


def test_what_one_training_writes_no_other_sees(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    _decoded(rows, tmp_path).zero_()
    assert torch.equal(_decoded(rows, tmp_path), _plain(rows))


def test_a_changed_image_is_decoded_anew_and_a_touched_one_is_not(
    tmp_path: Path,
) -> None:
    rows = _rows(tmp_path)
    _decoded(rows, tmp_path)
    pixels = next((tmp_path / cache.FOLDER).glob("*.u8")).stat().st_ino
    os.utime(rows[0].image)
    _decoded(rows, tmp_path)
    assert next((tmp_path / cache.FOLDER).glob("*.u8")).stat().st_ino == pixels
    Image.new("RGB", (20, 10), (1, 2, 3)).save(rows[0].image)
    assert torch.equal(_decoded(rows, tmp_path), _plain(rows))


def test_a_file_that_was_cut_short_is_built_anew(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    _decoded(rows, tmp_path)
    pixels = next((tmp_path / cache.FOLDER).glob("*.u8"))
    os.truncate(pixels, 100)
    assert torch.equal(_decoded(rows, tmp_path), _plain(rows))


def test_data_that_is_too_big_is_read_one_by_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = _rows(tmp_path)
    found = cache.decoded(rows, image_size=SIZE, folder=tmp_path, disk_share=0.0)
    assert found is None
    assert [r.message for r in caplog.records if "one by one" in r.message]
    assert not (tmp_path / cache.FOLDER).exists()


def _build_slowly(folder: Path) -> None:
    plain = ImageFiles.__getitem__

    def slow(self: ImageFiles, index: int) -> torch.Tensor:
        time.sleep(0.1)
        return plain(self, index)

    ImageFiles.__getitem__ = slow  # type: ignore[method-assign]
    _decoded(_rows(folder), folder)


def test_a_builder_that_is_killed_leaves_nothing_that_counts(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    context = multiprocessing.get_context("fork")
    builder = context.Process(target=_build_slowly, args=(tmp_path,))
    builder.start()
    while not list((tmp_path / cache.FOLDER).glob(".*.tmp")):
        time.sleep(0.01)
    assert builder.pid is not None
    os.kill(builder.pid, signal.SIGKILL)
    builder.join()
    assert not list((tmp_path / cache.FOLDER).glob("*.u8"))
    assert torch.equal(_decoded(rows, tmp_path), _plain(rows))
    assert not list((tmp_path / cache.FOLDER).glob(".*.tmp"))


def test_two_builders_at_once_build_one_file(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    context = multiprocessing.get_context("fork")
    builders = [
        context.Process(target=_build_slowly, args=(tmp_path,)) for _ in range(2)
    ]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert [builder.exitcode for builder in builders] == [0, 0]
    assert torch.equal(_decoded(rows, tmp_path), _plain(rows))


def test_a_training_on_mapped_images_sees_the_same_batches(tmp_path: Path) -> None:
    def batches(*, cached: object) -> list[torch.Tensor]:
        data = make_data(tmp_path, cache_images=cached)
        data.setup("fit")
        torch.manual_seed(1)
        return [batch["images"] for batch in data.train_dataloader()]

    plain, mapped = batches(cached=False), batches(cached="map")
    assert all(map(torch.equal, plain, mapped))

"""Images decoded once are the images, whoever builds, dies or changes a file."""

import io
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from sweeper.vision import cache
from sweeper.vision.annotations import Row
from sweeper.vision.batched import BatchedCrop, BatchedFlip, BatchedLight
from sweeper.vision.dataset import ImageFiles
from sweeper.vision.images import DataError
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


def test_a_data_set_that_is_too_big_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = make_data(tmp_path, cache_images="map", map_disk_share=1e-12)
    data.setup("fit")
    data.setup("test")
    assert isinstance(data.dataset("test").images, ImageFiles)
    said = [r.message for r in caplog.records if "one by one" in r.message]
    assert len(said) == 1
    assert "data.map_disk_share=1e-12 of the disk" in said[0]


def test_an_image_that_cannot_be_read_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    rows[3].image.write_bytes(b"none")
    with pytest.raises(DataError, match=r"3\.png:1: image"):
        _decoded(rows, tmp_path)
    assert [p.suffix for p in (tmp_path / cache.FOLDER).iterdir()] == [".lock"]


def test_a_bar_shows_how_far_the_only_build_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for is_built, rows in ((True, _rows(tmp_path)), (False, _rows(tmp_path))):
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        _decoded(rows, tmp_path)
        assert ("decoding" in terminal.getvalue()) is is_built


def test_another_size_is_another_file(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    _decoded(rows, tmp_path)
    other = cache.decoded(rows, image_size=8, folder=tmp_path)
    assert other is not None
    assert other.shape == (6, 3, 8, 8)
    assert torch.equal(_decoded(rows, tmp_path), _plain(rows))


def test_pixels_are_pages_of_the_file_that_all_processes_share(tmp_path: Path) -> None:
    found = _decoded(_rows(tmp_path), tmp_path)
    lines = Path("/proc/self/maps").read_text().splitlines()
    mapped = [line for line in lines if line.endswith(".u8")]
    starts = [int(line.split("-")[0], 16) for line in mapped]
    assert found.data_ptr() in starts


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


@pytest.mark.parametrize(
    "recipe",
    [
        [],
        [v2.RandomResizedCrop(8, antialias=True), v2.RandomHorizontalFlip()],
        [BatchedCrop(2), BatchedFlip(), BatchedLight(0.2, 0.2)],
    ],
    ids=["none", "one by one", "batched"],
)
def test_a_training_on_mapped_images_sees_the_same_batches(
    tmp_path: Path, recipe: list[torch.nn.Module]
) -> None:
    def batches(*, cached: object) -> list[torch.Tensor]:
        data = make_data(tmp_path, cache_images=cached, augmentations=recipe)
        data.setup("fit")
        torch.manual_seed(1)
        return [batch["images"] for batch in data.train_dataloader()]

    plain, mapped = batches(cached=False), batches(cached="map")
    assert all(map(torch.equal, plain, mapped))

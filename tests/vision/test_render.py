"""Rendered crops are a function of their settings and are written whole or not."""

import multiprocessing
from pathlib import Path

import pytest

from sweeper.vision.annotations import read_split
from sweeper.vision.images import DataError
from sweeper.vision.render import NUMBERS, RenderSettings, render_once

SMALL = RenderSettings(num_classes=3, num_images=30, image_size=16)


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_same_settings_render_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        render_once(tmp_path / name, SMALL)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(contents(tmp_path / "one")) == 30 + 6 + 6 + 3


def test_other_settings_have_another_folder():
    names = {
        SMALL.folder_name,
        RenderSettings(num_classes=3, num_images=30, image_size=17).folder_name,
        RenderSettings(num_classes=3, num_images=30, image_size=16, seed=1).folder_name,
    }
    assert len(names) == 3


def test_rows_are_read_as_those_of_the_users_own_data(tmp_path):
    render_once(tmp_path / "data", SMALL)
    rows = read_split(tmp_path / "data" / "train")
    assert [row.label for row in rows[:4]] == ["0", "1", "2", "0"]
    assert {"cloth", "ink", "font", "blur"} == set(rows[0].metadata)
    assert rows[0].image.is_file()


def test_splits_share_no_image(tmp_path):
    render_once(tmp_path / "data", SMALL)
    images = [v for k, v in contents(tmp_path / "data").items() if k.endswith(".png")]
    assert len(set(images)) == len(images) == 42


def test_two_processes_that_render_at_once_leave_one_whole_folder(tmp_path):
    folder = tmp_path / "data"
    context = multiprocessing.get_context("fork")
    builders = [context.Process(target=render_once, args=(folder, SMALL)) for _ in "ab"]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert [builder.exitcode for builder in builders] == [0, 0]
    assert list(tmp_path.iterdir()) == [folder]
    render_once(tmp_path / "again", SMALL)
    assert contents(folder) == contents(tmp_path / "again")


def test_the_later_of_two_builders_discards_its_copy(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    render_once(folder, SMALL)
    before = contents(folder)
    answers = iter([False, True])
    monkeypatch.setattr(Path, "is_dir", lambda _: next(answers, True))
    render_once(folder, SMALL)  # it saw no folder when it began
    monkeypatch.undo()
    assert contents(folder) == before
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("num_classes", "num_images", "message"),
    [
        (1, 100, "data.num_classes: 1; must be 2 to 101"),
        (102, 1000, "data.num_classes: 102; must be 2 to 101"),
        (10, 49, "data.num_images: 49; must be at least 50"),
    ],
)
def test_settings_that_cannot_be_rendered_are_errors(
    tmp_path, num_classes, num_images, message
):
    settings = RenderSettings(num_classes=num_classes, num_images=num_images)
    with pytest.raises(DataError, match=message):
        render_once(tmp_path / "data", settings)
    assert not (tmp_path / "data").exists()


def test_numbers_are_what_players_wear():
    assert len(NUMBERS) == len(set(NUMBERS)) == 101
    assert {"0", "00", "40"} <= set(NUMBERS[:42])

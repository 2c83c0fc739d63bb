"""Rows are read from every depth; a broken one is named by file and line."""

import json

import pytest

from sweeper.vision import annotations
from sweeper.vision.annotations import Row
from sweeper.vision.images import DataError


def write(folder, *lines: str):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "annotations.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file


def row(image: str, suffix: object, **more: object) -> str:
    return json.dumps({"image": image, "suffix": suffix, **more})


def test_rows_of_all_depths_are_read_with_paths_from_their_own_folder(tmp_path):
    write(tmp_path / "b" / "deep", row("x.png", "7", metadata={"team": "red"}))
    write(tmp_path / "a", row("img/y.png", 12, prefix="Read the number."), "")
    first, second = annotations.read_split(tmp_path)
    assert (first.label, first.image) == ("12", tmp_path / "a" / "img" / "y.png")
    assert second.metadata == {"team": "red"}
    assert second.place == f"{tmp_path}/b/deep/annotations.jsonl:1"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("\udcff", "not JSON"),
        ("[1]", "list in place of an object"),
        ("3", "int in place of an object"),
        ('{"suffix": "7"}', "no 'image'"),
        ('{"image": "a.png"}', "no 'suffix'"),
        ('{"image": "", "suffix": "7"}', "'image' is ''"),
        ('{"image": 4, "suffix": "7"}', "'image' is 4"),
        ('{"image": "a.png", "suffix": true}', "'suffix' is True"),
        ('{"image": "a.png", "suffix": 1.5}', "'suffix' is 1.5"),
        ('{"image": "a.png", "suffix": null}', "'suffix' is None"),
        ('{"image": "a.png", "suffix": "7", "metadata": 3}', "'metadata' is 3"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(tmp_path, line, message):
    file = tmp_path / "annotations.jsonl"
    content = "\n".join([row("a.png", "7"), "", line, row("b.png", "8")])
    file.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError) as caught:
        annotations.read_split(tmp_path)
    assert str(caught.value).startswith(f"{file}:3: {message}")
    assert "fix or remove the line" in str(caught.value)


def test_a_missing_or_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"no such folder.*set data\.root"):
        annotations.read_split(tmp_path / "train")
    with pytest.raises(DataError, match=r"no annotations\.jsonl; add rows"):
        annotations.read_split(tmp_path)
    write(tmp_path, "")
    with pytest.raises(DataError, match=r"1 annotations\.jsonl without a row"):
        annotations.read_split(tmp_path)


def test_an_unknown_class_is_named_by_file_and_line():
    rows = [Row(label="7", place="t.jsonl:1"), Row(label="72", place="t.jsonl:2")]
    assert annotations.encode(rows[:1], ["6", "7"]) == (1,)
    with pytest.raises(DataError, match=r"t\.jsonl:2: class '72' is not in the train"):
        annotations.encode(rows, ["6", "7"])

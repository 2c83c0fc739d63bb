"""Rows of `annotations.jsonl`: an image, its class, and the line that names them.

No image is opened here. A row keeps its file and line, for error messages.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.vision.images import DataError

FILE_NAME = "annotations.jsonl"
SHAPE = '{"image": "a.png", "suffix": "23", "metadata": {...}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One image and its class.

    Attributes:
        label: name of the class.
        place: "file:line" of the row, or another name of its origin.
        image: absolute or relative path of the file; empty for data without files.
        metadata: the value of the row's `metadata` key, unchanged.
    """

    label: str
    place: str
    image: Path = Path()
    metadata: Mapping[str, object] = field(default_factory=dict)


def read_split(folder: Path) -> tuple[Row, ...]:
    """Return the rows of every `annotations.jsonl` below `folder`, in order of path.

    Raises:
        DataError: the folder is missing, there is no row, or a row is invalid.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; the data's root must hold train, valid and "
            f"test, each with {FILE_NAME} at any depth; set data.root"
        )
    files = sorted(folder.rglob(FILE_NAME))
    rows = tuple(row for file in files for row in read_rows(file))
    if not rows:
        found = (
            f"{len(files)} {FILE_NAME} without a row" if files else "no " + FILE_NAME
        )
        raise DataError(f"{folder}: {found}; add rows such as {SHAPE}")
    return rows


def read_rows(file: Path) -> tuple[Row, ...]:
    """Return the rows of one file; blank lines are skipped.

    Raises:
        DataError: a line is not a valid row; the message names file and line.
    """
    lines = file.read_bytes().split(b"\n")
    return tuple(
        _row(line, place=f"{file}:{number}", folder=file.parent)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )


def _row(line: bytes, *, place: str, folder: Path) -> Row:
    def broken(what: str) -> DataError:
        return DataError(f"{place}: {what}; a row is {SHAPE}; fix or remove the line")

    try:
        data = json.loads(line)
    except ValueError as error:
        raise broken(f"not JSON ({error})") from error
    if not isinstance(data, dict):
        raise broken(f"{type(data).__name__} in place of an object")
    for key in ("image", "suffix"):
        if key not in data:
            raise broken(f"no {key!r}")
    image, suffix, metadata = data["image"], data["suffix"], data.get("metadata")
    if not isinstance(image, str) or not image:
        raise broken(f"'image' is {image!r}, not a path")
    if isinstance(suffix, bool) or not isinstance(suffix, str | int):
        raise broken(f"'suffix' is {suffix!r}, not the name of a class")
    if metadata is not None and not isinstance(metadata, dict):
        raise broken(f"'metadata' is {metadata!r}, not an object")
    return Row(
        label=str(suffix), place=place, image=folder / image, metadata=metadata or {}
    )


def class_names(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the classes of a train split: numbers by value, then other names.

    >>> class_names(Row(label=name, place="") for name in ["10", "9", "00", "0", "x"])
    ('0', '00', '9', '10', 'x')
    """

    def order(name: str) -> tuple[int, int, str]:
        is_number = name.isascii() and name.isdigit()
        return (0, int(name), name) if is_number else (1, 0, name)

    return tuple(sorted({row.label for row in rows}, key=order))


def encode(rows: Sequence[Row], names: Sequence[str]) -> tuple[int, ...]:
    """Return the index of each row's class.

    Raises:
        DataError: the train split does not have the class of a row.
    """
    index = {name: position for position, name in enumerate(names)}
    for row in rows:
        if row.label not in index:
            close = difflib.get_close_matches(row.label, names, n=3) or list(names[:10])
            raise DataError(
                f"{row.place}: class {row.label!r} is not in the train split "
                f"({len(names)} classes, such as {', '.join(map(repr, close))}); "
                "add images of it to train, or fix or remove the line"
            )
    return tuple(index[row.label] for row in rows)

"""The file of a journal: records appended whole, and the line of a damage.

It knows Optuna's format of a record and no more; what a row means is for `store`.
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from sweeper.errors import JournalError
from sweeper.host import disk

SHOWN = 40  # bytes of a damaged record
CREATE_TRIAL = 4  # Optuna's code of the operation
# What Optuna raises on a record that is no record, or not of this journal.
UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Records(BaseJournalBackend):
    """Optuna's journal file; each record has its line number and a checksum.

    A record without them is Optuna's own and taken as it is. Lines are read up to the
    last that has an end: a kill tore what follows, or it is still being written.

    Raises:
        ValueError: on reading, at the first record that is damaged or out of place.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: list[bytes] | None = None
        self._num_written = 0  # number of the last line that this object wrote
        self._rewind()

    def _rewind(self) -> None:
        self._offset = 0
        self._num_records = 0
        self._num_trials = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The records from a number on; usually those since the last call."""
        if log_number_from < self._num_records:
            self._rewind()
        for line in self._new_lines():
            record = parse(line)
            self._check_place(record)
            self._offset += len(line) + 1
            self._num_records += 1
            if self._num_records > log_number_from:
                yield record

    def _new_lines(self) -> list[bytes]:
        try:
            if self._path.stat().st_size == self._offset:
                return []  # the usual case: nothing is new
        except FileNotFoundError:
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            return file.read().split(b"\n")[:-1]

    def _check_place(self, record: Mapping[str, Any]) -> None:
        """Refuse a record before which another one is missing or doubled."""
        number = self._num_records + 1
        if record.get("line", number) != number:
            raise ValueError(f"it was written as line {record['line']}")
        if record["op_code"] == CREATE_TRIAL:
            self._num_trials += 1
        elif not 0 <= int(record.get("trial_id", 0)) < max(1, self._num_trials):
            raise ValueError(f"no record has made trial {record['trial_id']}")

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write the records of one change, on disk before it returns.

        Optuna's own backend would leave a part of a record in the middle of the file
        when the disk is full. This takes the part back, waits, and writes it again.
        """
        first = max(self._num_records, self._num_written) + 1
        lines = [
            sealed({**log, "line": number}) for number, log in enumerate(logs, first)
        ]
        if self._held is None:
            disk.append(self._path, b"".join(lines))
        else:
            self._held.extend(lines)
        self._num_written = first - 1 + len(lines)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make one write of all changes of a block; they are read from its end on.

        One sync for all, and a kill leaves all of them or a whole first part. A block
        that raises has written nothing.
        """
        before = self._num_written
        self._held = []
        try:
            yield
            if self._held:
                disk.append(self._path, b"".join(self._held))
        except BaseException:
            self._num_written = before
            raise
        finally:
            self._held = None


def sealed(record: Mapping[str, object]) -> bytes:
    """A record as a line that ends with a checksum of all before it.

    >>> parse(sealed({"op_code": 5}).strip())["op_code"]
    5
    """
    body = json.dumps(record, separators=(",", ":"))[:-1].encode()
    return body + _seal(body)


def _seal(body: bytes) -> bytes:
    return b',"crc":"%08x"}\n' % zlib.crc32(body)


def parse(line: bytes) -> dict[str, Any]:
    """The record of a line without its end.

    Raises:
        ValueError: it is none, or not as it was written.
    """
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError("a record is a mapping")
    if "crc" in record:
        body = line.rpartition(b',"crc":')[0]
        if body + _seal(body) != line + b"\n":
            raise ValueError("the checksum is another one")
    return record


def open_file(path: Path) -> JournalStorage:
    """Optuna's storage over a journal file.

    Raises:
        JournalError: it is damaged before its last record.
    """
    try:
        return JournalStorage(Records(path))
    except UNREADABLE as error:
        found = whole_part(path).damage or str(error)
        raise JournalError(
            f"{found}; run `sweeper repair {path.parent.name}`, which rebuilds the "
            "journal from what is whole and from the trials' folders"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class WholePart:
    """The records of a journal before its first damage.

    Attributes:
        lines: as they stand in the file.
        damage: place and kind of the first damage; "" for a whole journal.
        num_lost: lines from the damage on.
    """

    lines: tuple[bytes, ...]
    damage: str = ""
    num_lost: int = 0


def whole_part(path: Path) -> WholePart:
    """Read and replay a journal up to its first damaged line.

    What comes after is no use: records name their rows by count, so one that is
    missing would give the values of a row to another one. A last line without an end
    is no damage: a kill tore it, or it is still being written.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    backend = _Given(path)
    replay = JournalStorage(backend)
    for index, line in enumerate(lines):
        try:
            backend.given = [line]
            replay.get_all_studies()
        except UNREADABLE as error:
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            shown = line[:SHOWN]
            return WholePart(
                lines=tuple(lines[:index]),
                damage=f"{path}:{index + 1}: not a record: {shown!r} ({what})",
                num_lost=len(lines) - index,
            )
    return WholePart(lines=tuple(lines))


class _Given(Records):
    """Records that are given line by line and never written."""

    given: Sequence[bytes] = ()

    def _new_lines(self) -> list[bytes]:
        lines, self.given = list(self.given), ()
        return lines

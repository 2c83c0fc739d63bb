"""The file of a journal: records appended whole, each with a number and a checksum."""

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from sweeper.system import disk
from sweeper.system.errors import JournalError

SHOWN = 40  # bytes of a damaged record
CREATE_TRIAL = 4  # Optuna's code of the operation
# Exceptions of Optuna for a damaged record or one of another journal.
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


class JournalFile(BaseJournalBackend):
    """Optuna's journal backend over one file, which survives a kill and a full disk.

    A record without number and checksum is Optuna's own and is accepted. A last line
    without a newline is ignored: a kill tore it, or it is still being written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._num_read = 0
        self._num_trials = 0
        self._held: list[bytes] | None = None

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the records after a number, usually those since the last call.

        Raises:
            ValueError: a record is damaged, or one before it is missing or doubled.
        """
        if log_number_from < self._num_read:
            self._offset = self._num_read = self._num_trials = 0
        for line in self._new_lines():
            record = parse(line)
            number = self._num_read + 1
            if record.get("line", number) != number:
                raise ValueError(f"it was written as line {record['line']}")
            if record["op_code"] == CREATE_TRIAL:
                self._num_trials += 1
            elif not 0 <= int(record.get("trial_id", 0)) < max(1, self._num_trials):
                raise ValueError(f"no record has made trial {record['trial_id']}")
            self._offset += len(line) + 1
            self._num_read = number
            if number > log_number_from:
                yield record

    def _new_lines(self) -> Iterable[bytes]:
        try:
            if self.path.stat().st_size == self._offset:
                return  # the usual case: nothing is new
        except FileNotFoundError:
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for line in file:  # a long journal is never whole in memory
                if line.endswith(b"\n"):
                    yield line[:-1]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write the records of one change, and sync them to disk.

        On a full disk Optuna's own backend would leave a part of a record in the middle
        of the file. This one removes the part, waits, and writes the record again.
        """
        first = self._num_read + len(self._held or ()) + 1
        lines = [
            sealed({**log, "line": number}) for number, log in enumerate(logs, first)
        ]
        if self._held is None:
            disk.append(self.path, b"".join(lines))
        else:
            self._held += lines

    @contextmanager
    def held(self) -> Iterator[list[bytes]]:
        """Collect the records of a block, which the caller writes with one sync.

        After a kill the file has the first of them, each whole. Reads within the block
        do not see them.
        """
        lines: list[bytes] = []
        self._held = lines
        try:
            yield lines
        finally:
            self._held = None


def sealed(record: dict[str, Any]) -> bytes:
    """Return a record as a line that ends with a checksum of its content.

    >>> parse(sealed({"op_code": 5}).strip())["op_code"]
    5
    """
    body = json.dumps(record, separators=(",", ":"))[:-1].encode()
    return body + _seal(body)


def _seal(body: bytes) -> bytes:
    return b',"crc":"%08x"}\n' % zlib.crc32(body)


def parse(line: bytes) -> dict[str, Any]:
    """Return the record of a line; the line has no newline.

    Raises:
        ValueError: the line is not a record, or its checksum does not match.
    """
    record = json.loads(line.decode())
    if not isinstance(record, dict):
        raise ValueError("a record is a mapping")
    if "crc" in record:
        body = line.rpartition(b',"crc":')[0]
        if body + _seal(body) != line + b"\n":
            raise ValueError("its checksum does not match")
    return record


def open_file(path: Path) -> JournalStorage:
    """Return Optuna's storage over a journal file.

    Raises:
        JournalError: the file is damaged before its last record.
    """
    try:
        return JournalStorage(JournalFile(path))
    except UNREADABLE as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> JournalError:
    """Return the error for a journal that cannot be read, with the damaged line."""
    return JournalError(
        f"{whole_part(path).damage or error}; run `sweeper repair {path.parent.name}`, "
        "which rebuilds the journal from what is whole and from the trials' folders"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WholePart:
    """The records of a journal before its first damage.

    Attributes:
        lines: as they are in the file.
        damage: place and kind of the first damage; "" if there is none.
        num_lost: number of lines from the damage to the end.
    """

    lines: tuple[bytes, ...]
    damage: str = ""
    num_lost: int = 0


def whole_part(path: Path) -> WholePart:
    """Read a journal up to its first damaged line.

    Later lines are unusable: records number their rows, so after a missing record the
    values of a row would go to another row. A last line without a newline is not
    damage: a kill tore it, or it is still being written.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    backend = _Lines(path)
    storage = JournalStorage(backend)
    for index, line in enumerate(lines):
        try:
            backend.lines = [line]
            storage.get_all_studies()
        except UNREADABLE as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            shown = line[:SHOWN]
            return WholePart(
                lines=tuple(lines[:index]),
                damage=f"{path}:{index + 1}: not a record: {shown!r} ({reason})",
                num_lost=len(lines) - index,
            )
    return WholePart(lines=tuple(lines))


class _Lines(JournalFile):
    """A journal whose lines are set one by one."""

    lines: Sequence[bytes] = ()

    def _new_lines(self) -> Sequence[bytes]:
        lines, self.lines = self.lines, ()
        return lines

"""The lines of a journal file: each with its number and a checksum; read as they come.

It knows Optuna's format of a record and no more, and needs nothing of Optuna.
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

# What Optuna and `replay` raise on a record that is no record, or not of this journal.
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


class Operation(IntEnum):
    """Optuna's codes of what a record does."""

    CREATE_STUDY = 0
    DELETE_STUDY = 1
    SET_STUDY_USER_ATTR = 2
    SET_STUDY_SYSTEM_ATTR = 3
    CREATE_TRIAL = 4
    SET_TRIAL_PARAM = 5
    SET_TRIAL_STATE_VALUES = 6
    SET_TRIAL_INTERMEDIATE_VALUE = 7
    SET_TRIAL_USER_ATTR = 8
    SET_TRIAL_SYSTEM_ATTR = 9
    DISCARD_TRIALS = 10


class Lines:
    """Reads the records of a file, those of the last call not again.

    A record without number and checksum is Optuna's own and taken as it is. Lines are
    read up to the last that has an end: a kill tore what follows, or it is still being
    written.

    Raises:
        ValueError: on reading, at the first record that is damaged or out of place.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rewind()

    def _rewind(self) -> None:
        self._offset = 0
        self.num_records = 0
        self._num_trials = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The records from a number on; usually those since the last call."""
        if log_number_from < self.num_records:
            self._rewind()
        for line in self._new_lines():
            record = parse(line)
            self._check_place(record)
            self._offset += len(line) + 1
            self.num_records += 1
            if self.num_records > log_number_from:
                yield record

    def _new_lines(self) -> Iterable[bytes]:
        try:
            if self._path.stat().st_size == self._offset:
                return  # the usual case: nothing is new
        except FileNotFoundError:
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:  # a long journal is never whole in memory
                if line.endswith(b"\n"):
                    yield line[:-1]

    def _check_place(self, record: Mapping[str, Any]) -> None:
        """Refuse a record before which another one is missing or doubled."""
        number = self.num_records + 1
        if record.get("line", number) != number:
            raise ValueError(f"it was written as line {record['line']}")
        if record["op_code"] == Operation.CREATE_TRIAL:
            self._num_trials += 1
        elif not 0 <= int(record.get("trial_id", 0)) < max(1, self._num_trials):
            raise ValueError(f"no record has made trial {record['trial_id']}")


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
    record = json.loads(line.decode())
    if not isinstance(record, dict):
        raise ValueError("a record is a mapping")
    if "crc" in record:
        body = line.rpartition(b',"crc":')[0]
        if body + _seal(body) != line + b"\n":
            raise ValueError("the checksum is another one")
    return record

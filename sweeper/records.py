"""The file of a journal: records appended whole, and the line of a damage.

It knows Optuna's format of a record and no more; what a row means is for `store`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from sweeper import disk
from sweeper.errors import JournalError

SHOWN = 40  # bytes of a damaged record
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


class Appender(JournalFileBackend):
    """Optuna's journal file, written by one process under sweeper's own lock.

    Optuna's would leave a part of a record in the middle of the file when the disk is
    full. This one takes the part back, waits, and writes the record again.
    """

    def __init__(self, path: Path) -> None:
        disk.append(path, b"")
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write the records of one change, on disk before it returns."""
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
        disk.append(self._path, "".join(lines).encode())


def open_file(path: Path, *, is_writer: bool) -> JournalStorage:
    """Optuna's storage over a journal file.

    Raises:
        JournalError: it is damaged before its last record.
    """
    backend = Appender(path) if is_writer else JournalFileBackend(str(path))
    try:
        return JournalStorage(backend)
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
    records: list[Mapping[str, object]] = []
    replay = JournalStorage(_Listed(records))
    for index, line in enumerate(lines):
        try:
            records.append(json.loads(line))
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


class _Listed(BaseJournalBackend):
    """Records in memory, to be replayed."""

    def __init__(self, records: Sequence[Mapping[str, object]]) -> None:
        self._records = records

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The records from a number on."""
        return [dict(record) for record in self._records[log_number_from:]]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Nothing is written to a replay."""
        raise NotImplementedError

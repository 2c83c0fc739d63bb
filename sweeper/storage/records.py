"""The file of a journal: records appended whole, and the line of a damage.

What a row means is for `store`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from sweeper.errors import JournalError
from sweeper.host import disk
from sweeper.storage.lines import UNREADABLE, Lines, sealed

SHOWN = 40  # bytes of a damaged record


class Records(Lines, BaseJournalBackend):
    """Optuna's journal file; each record has its line number and a checksum."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._held: list[bytes] | None = None
        self._num_written = 0  # number of the last line that this object wrote

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write the records of one change, on disk before it returns.

        Optuna's own backend would leave a part of a record in the middle of the file
        when the disk is full. This takes the part back, waits, and writes it again.
        """
        first = max(self.num_records, self._num_written) + 1
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


def open_file(path: Path) -> JournalStorage:
    """Optuna's storage over a journal file.

    Raises:
        JournalError: it is damaged before its last record.
    """
    try:
        return JournalStorage(Records(path))
    except UNREADABLE as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> JournalError:
    """What to tell of a journal that cannot be read."""
    return JournalError(
        f"{whole_part(path).damage or error}; run `sweeper repair {path.parent.name}`, "
        "which rebuilds the journal from what is whole and from the trials' folders"
    )


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

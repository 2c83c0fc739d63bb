"""The rows of a journal file as they stand now, for those who only look.

It reads what Optuna would and imports nothing of it: that alone takes a quarter of a
second, and its rows take several times the memory. `tests/test_replay.py` compares.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from sweeper.storage.lines import UNREADABLE, Lines, Operation
from sweeper.trial import State

_Record: TypeAlias = Mapping[str, Any]  # JSON


# Optuna's codes of states.
STATES: Mapping[int, State] = {
    0: State.RUNNING,
    1: State.COMPLETE,
    2: State.PRUNED,
    3: State.FAILED,
    4: State.WAITING,
}
RUNNING = 0


@dataclass(slots=True, kw_only=True)
class Row:
    """What views read of a row; between two reads it does not change."""

    number: int
    state: int
    params: dict[str, Any]
    user_attrs: dict[str, Any]
    intermediate_values: dict[int, float]
    datetime_start: datetime | None
    datetime_complete: datetime | None


class Replay:
    """Reads one journal file again and again, at the cost of what is new.

    The file is that of one sweep: it holds one study.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = Lines(path)
        self._name = ""
        self._rows: list[Row] = []
        self._own: set[int] = set()  # numbers of rows that nobody has seen yet
        self._of_study: dict[str, Any] = {}
        self._kinds: dict[str, Callable[[float], Any]] = {}

    def read(self) -> tuple[Sequence[Row], Mapping[str, Any]]:
        """The rows by number, and the attributes of their study.

        A row that was written to since the last call is another object.

        Raises:
            JournalError: a record is damaged or out of place.
        """
        try:
            for record in self._lines.read_logs(self._lines.num_records):
                self._apply(record)
        except UNREADABLE as error:
            from sweeper.storage import records  # with Optuna: says where

            raise records.damaged(self._path, error) from error
        self._own.clear()
        return self._rows, self._of_study

    def _apply(self, record: _Record) -> None:
        operation = Operation(record["op_code"])
        if operation is Operation.CREATE_STUDY:
            name = record["study_name"]
            if self._name not in ("", name):
                raise ValueError(f"it makes a second study: {name!r}")
            self._name = name  # each start makes it anew; the first one counts
        elif operation is Operation.SET_STUDY_USER_ATTR:
            self._of_study |= record["user_attr"]
        elif operation is Operation.CREATE_TRIAL:
            self._own.add(len(self._rows))
            self._rows.append(self._made(record))
        elif "trial_id" in record:
            number = int(record["trial_id"])
            if not STATES[self._rows[number].state].is_final:
                self._change(self._owned(number), operation, record)

    def _owned(self, number: int) -> Row:
        """A row that may be changed: a copy, if somebody has seen it."""
        row = self._rows[number]
        if number not in self._own:
            self._own.add(number)
            self._rows[number] = row = replace(
                row,
                params=dict(row.params),
                user_attrs=dict(row.user_attrs),
                intermediate_values=dict(row.intermediate_values),
            )
        return row

    def _made(self, record: _Record) -> Row:
        kinds = record.get("distributions", {})
        return Row(
            number=len(self._rows),
            state=record.get("state", RUNNING),
            params={
                name: self._kind(kinds[name])(value)
                for name, value in record.get("params", {}).items()
            },
            user_attrs=record.get("user_attrs", {}),
            intermediate_values=_by_epoch(record.get("intermediate_values", {})),
            datetime_start=_time(record.get("datetime_start")),
            datetime_complete=_time(record.get("datetime_complete")),
        )

    def _change(self, row: Row, operation: Operation, record: _Record) -> None:
        if operation is Operation.SET_TRIAL_USER_ATTR:
            row.user_attrs |= record["user_attr"]
        elif operation is Operation.SET_TRIAL_INTERMEDIATE_VALUE:
            row.intermediate_values[record["step"]] = record["intermediate_value"]
        elif operation is Operation.SET_TRIAL_PARAM:
            kind = self._kind(record["distribution"])
            row.params[record["param_name"]] = kind(record["param_value_internal"])
        elif operation is Operation.SET_TRIAL_STATE_VALUES:
            _move(row, record)

    def _kind(self, text: str) -> Callable[[float], Any]:
        """How Optuna's number of a value of such a distribution becomes the value."""
        if text not in self._kinds:
            kind = json.loads(text)
            choices = kind["attributes"].get("choices")
            if choices is not None:
                self._kinds[text] = lambda number: choices[int(number)]
            else:
                self._kinds[text] = int if kind["name"].startswith("Int") else float
        return self._kinds[text]


def _move(row: Row, record: _Record) -> None:
    state = int(record["state"])
    if state == row.state == RUNNING:
        return
    row.state = state
    if state == RUNNING:
        row.datetime_start = _time(record["datetime_start"])
    elif STATES[state].is_final:
        row.datetime_complete = _time(record["datetime_complete"])


def _by_epoch(values: Mapping[str, float]) -> dict[int, float]:
    return {int(epoch): value for epoch, value in values.items()}


def _time(text: str | None) -> datetime | None:
    """Optuna's times are local and name no zone."""
    if text is None:
        return None
    return datetime.fromisoformat(text).astimezone().replace(tzinfo=None)

"""Rows of an Optuna study as trial records, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sweeper.experiment.sections import Objective
from sweeper.journal.record import Attempt, Cause, Demand, Failure, State, TrialRecord
from sweeper.protocol import FailureKind
from sweeper.system.lineage import Lineage

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

OTHERS = "objectives/"  # with an epoch: all objectives but the first one
PLAIN = (
    "id",
    "seed",
    "point",
    "is_mean",
    "stopped_at",
    "retried_after",
    "epochs",
    "memory_key",
    "cores",
    "is_shrunk",
    "is_infeasible",
)
PROGRESS = ("metrics", "peak_bytes", "utilisation", "readings", "rates")
BUSY = "busy_seconds"  # in `progress`: of the attempt that runs
STATES = dict(
    zip(
        ("RUNNING", "WAITING", "COMPLETE", "PRUNED", "FAIL"),
        (State.RUNNING, State.WAITING, State.COMPLETE, State.PRUNED, State.FAILED),
        strict=True,
    )
)
NAMES = {state: name for name, state in STATES.items()}
EMPTY = TrialRecord(number=-1, id="", params={}, seed=-1, state=State.WAITING)


def from_row(row: "FrozenTrial") -> TrialRecord:
    """Return the record that a row holds."""
    return from_attrs(
        row.user_attrs,
        number=row.number,
        params=row.params,
        state=STATES[row.state.name],
        notes=row.system_attrs,
        values=row.intermediate_values,
        result=tuple(row.values or ()),
        started_at=row.datetime_start,
        ended_at=row.datetime_complete,
    )


def from_attrs(
    attributes: Mapping[str, Any], *, values: Mapping[int, float], **fields: Any
) -> TrialRecord:
    """Return the record of a row's attributes and of what Optuna keeps by itself."""
    progress = attributes.get("progress", {})
    busy = progress.get(BUSY, 0.0)
    return TrialRecord(
        values={epoch: values[epoch] for epoch in sorted(values)},
        others=_others(attributes),
        lineage=Lineage(**attributes["lineage"]) if "lineage" in attributes else None,
        attempts=tuple(_attempt(a, busy) for a in attributes.get("attempts", ())),
        **{name: progress[name] for name in PROGRESS if name in progress},
        **{name: attributes[name] for name in PLAIN if name in attributes},
        **fields,
    )


def to_attrs(record: TrialRecord, before: TrialRecord = EMPTY) -> dict[str, Any]:
    """Return the attributes of a row that say what `before` does not, as JSON."""
    attributes = {
        name: value
        for name in PLAIN
        if (value := getattr(record, name)) != getattr(before, name)
    }
    if record.lineage != before.lineage and record.lineage is not None:
        attributes["lineage"] = asdict(record.lineage)
    attempts = [_attempt_to_json(attempt) for attempt in record.attempts]
    if attempts != [_attempt_to_json(attempt) for attempt in before.attempts]:
        attributes["attempts"] = attempts
    progress = _progress(record)
    if progress != _progress(before):
        attributes["progress"] = progress
    for epoch, values in record.others.items():
        if before.others.get(epoch) != values:
            attributes[f"{OTHERS}{epoch}"] = list(values)
    return attributes


def again(record: TrialRecord) -> TrialRecord:
    """Return the waiting record of a trial that has ended, without its failures.

    It keeps what the trial reported, and the trial resumes from its checkpoint with
    the cores of its first attempt.
    """
    return replace(
        record,
        state=State.WAITING,
        result=(),
        retried_after=len(record.attempts),
        epochs={},
        stopped_at=None,
        memory_key="",
        is_shrunk=False,
        is_infeasible=False,
        started_at=None,
        ended_at=None,
    )


def _others(attributes: Mapping[str, Any]) -> dict[int, tuple[float, ...]]:
    found = {
        int(key.removeprefix(OTHERS)): tuple(values)
        for key, values in attributes.items()
        if key.startswith(OTHERS)
    }
    return {epoch: found[epoch] for epoch in sorted(found)}


def _progress(record: TrialRecord) -> dict[str, Any]:
    progress = {
        name: value
        for name in PROGRESS
        if (value := getattr(record, name)) != getattr(EMPTY, name)
    }
    running = record.attempts[-1:]
    if running and running[0].cause is None and running[0].busy_seconds:
        progress[BUSY] = running[0].busy_seconds
    return progress


def _attempt(data: Mapping[str, Any], busy: float) -> Attempt:
    """Return an attempt; what runs has its seconds in the row's progress."""
    ended, cause, failure = (data.get(n) for n in ("ended_at", "cause", "failure"))
    return Attempt(
        slot=data["slot"],
        started_at=datetime.fromisoformat(data["started_at"]),
        demand=Demand(**data["demand"]),
        card=data.get("card", ""),
        code=data.get("code", ""),
        busy_seconds=data[BUSY] if cause else busy,
        ended_at=datetime.fromisoformat(ended) if ended else None,
        cause=Cause(cause) if cause else None,
        failure=failure_from_json(failure) if failure else None,
    )


def _attempt_to_json(attempt: Attempt) -> dict[str, Any]:
    demand = attempt.demand
    data: dict[str, Any] = {
        "slot": attempt.slot,
        "started_at": attempt.started_at.isoformat(timespec="milliseconds"),
        "demand": {
            "cpus": demand.cpus,
            "gpus": demand.gpus,
            "accelerator": demand.accelerator,
        },
        "card": attempt.card,
        "code": attempt.code,
    }
    if attempt.cause is not None:
        ended = attempt.ended_at
        data |= {
            "ended_at": ended and ended.isoformat(timespec="milliseconds"),
            "cause": attempt.cause.value,
            BUSY: attempt.busy_seconds,
            "failure": attempt.failure and asdict(attempt.failure),
        }
    return data


def failure_from_json(data: Mapping[str, Any]) -> Failure:
    """Return a failure from the JSON of its `asdict`."""
    return Failure(**{**data, "kind": FailureKind(data["kind"])})


def directions(
    objectives: Sequence[Objective],
) -> list[Literal["minimize", "maximize"]]:
    """Return the name of Optuna's direction of each objective."""
    return ["minimize" if o.mode == "min" else "maximize" for o in objectives]

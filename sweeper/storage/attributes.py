"""What a row of the study and its attributes mean, in sweeper's words; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Union

from sweeper import lineage
from sweeper.lineage import Lineage
from sweeper.storage.replay import STATES, Row
from sweeper.trial import (
    Attempt,
    Demand,
    Failure,
    FailureKind,
    Params,
    TrialRecord,
    point_id,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

AnyRow: TypeAlias = Union["FrozenTrial", Row]
_Row = TypeVar("_Row", "FrozenTrial", Row)
OTHERS = "objectives/"  # with an epoch: attribute of a row, all but the first one


def named(
    identity: str, params: Params, *, seed: int, place: Lineage | None = None
) -> dict[str, object]:
    """The attributes that a row has from its first record on.

    Args:
        identity: the trial's id.
    """
    kept = {lineage.KEY: asdict(place)} if place else {}
    return {"id": identity, "seed": seed, "point": point_id(params, place), **kept}


def newest(rows: Sequence[_Row]) -> list[_Row]:
    """One row an id, its newest, in the order of the first rows.

    An id has a second row when a failed trial was put back in the queue. A row
    without an id is none of ours.
    """
    ours = (row for row in rows if "id" in row.user_attrs)
    return list({row.user_attrs["id"]: row for row in ours}.values())


def others(attributes: Mapping[str, Any]) -> dict[int, tuple[float, ...]]:
    """The objectives after the first one, by epoch."""
    found = {
        int(key.removeprefix(OTHERS)): tuple(values)
        for key, values in attributes.items()
        if key.startswith(OTHERS)
    }
    return dict(sorted(found.items()))


def card_seconds(row: AnyRow) -> dict[str, float]:
    """Return the seconds of all attempts of a trial by type of card, "" if not known.

    The share of a card may differ from one attempt to the next, and so may its type.
    """
    attributes = row.user_attrs
    busy: float = attributes.get("progress", {}).get("busy_seconds", 0.0)
    before: float = attributes.get("busy_before", 0.0)
    share: float = attributes.get("demand", {}).get("gpus", 0.0)
    card: str = attributes.get("card", "")
    # Rows of older versions have one number for all cards.
    earlier = attributes.get("gpu_seconds_before", before * share)
    seconds: dict[str, float] = dict(
        attributes.get("card_seconds_before", {card: earlier})
    )
    seconds[card] = seconds.get(card, 0.0) + (busy - before) * share
    return {name: amount for name, amount in seconds.items() if amount}


def to_trial(frozen: AnyRow) -> TrialRecord:
    """A row in sweeper's words."""
    attrs = frozen.user_attrs
    progress = attrs.get("progress", {})
    return TrialRecord(
        number=frozen.number,
        id=attrs["id"],
        params=frozen.params,
        seed=attrs["seed"],
        state=STATES[frozen.state],
        values=dict(sorted(frozen.intermediate_values.items())),
        others=others(attrs),
        metrics=progress.get("metrics", {}),
        demand=Demand(**attrs["demand"]) if "demand" in attrs else Demand(cpus=1.0),
        peak_bytes=progress.get("peak_bytes", 0),
        memory_key=attrs.get("memory_key", ""),
        card=attrs.get("card", ""),
        utilisation=progress.get("utilisation"),
        rates=progress.get("rates", {}),
        oom_shares=attrs.get("oom_shares", {}),
        starts=len(attrs.get("attempts", ())),
        attempts=tuple(to_attempt(data) for data in attrs.get("attempts", ())),
        failures=tuple(to_failure(f) for f in attrs.get("failures", ())),
        started_at=frozen.datetime_start,
        ended_at=frozen.datetime_complete,
        busy_seconds=progress.get("busy_seconds", 0.0),
        card_seconds=card_seconds(frozen),
        lineage=lineage.of(attrs),
        is_mean=attrs.get("is_mean", False),
    )


def to_attempt(data: Mapping[str, Any]) -> Attempt:
    """A start as the journal stores it."""
    return Attempt(
        slot=data["slot"],
        started_at=datetime.fromisoformat(data["at"]),
        busy_before=data["busy_before"],
        code=data.get("code", ""),
    )


def to_failure(data: Mapping[str, object]) -> Failure:
    """A failure as the journal stores it."""
    return Failure(
        kind=FailureKind(str(data["kind"])),
        message=str(data["message"]),
        step=int(str(data["step"])),
        traceback=str(data.get("traceback", "")),
    )

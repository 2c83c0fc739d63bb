"""Observations that are updated row by row are those of all rows at once."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.journal.record import Attempt, Demand, Failure, TrialRecord
from sweeper.packing import packing
from sweeper.packing.observations import RATES_KEPT, Observations, Observed
from sweeper.protocol import FailureKind

SHARES = st.sampled_from([1.0, 0.5, 0.25])
CARDS = st.sampled_from(["T4", "L4"])
RATES = st.dictionaries(
    CARDS, st.dictionaries(st.sampled_from(["1", "2", "10"]), st.floats(0.1, 9))
)
ROW = st.fixed_dictionaries(
    {},
    optional={
        "memory_key": st.sampled_from(["a", "b"]),
        "card": CARDS,
        "is_shrunk": st.booleans(),
        "is_infeasible": st.booleans(),
        "oom_shares": st.dictionaries(CARDS, st.lists(SHARES, max_size=3)),
        "progress": st.fixed_dictionaries(
            {}, optional={"peak_bytes": st.integers(1, 9), "rates": RATES}
        ),
    },
)
WRITES = st.lists(st.tuples(st.integers(0, 19), ROW), max_size=40)


def _all_observed(
    rows: Iterable[Mapping[str, Any]], cards: Collection[str]
) -> dict[str, Observed]:
    """The definition: a look at every row, in order."""
    rows = [row for row in rows if "memory_key" in row]
    keys = {row["memory_key"] for row in rows}
    return {
        key: _of([r for r in rows if r["memory_key"] == key], cards) for key in keys
    }


def _of(rows: Sequence[Mapping[str, Any]], cards: Collection[str]) -> Observed:
    cards = cards or ("T4", "L4", "")
    whole = [row.get("progress", {}) for row in rows if not row.get("is_shrunk")]
    shares = [
        s for r in rows for c in cards for s in r.get("oom_shares", {}).get(c, ())
    ]
    here = [row for row in rows if row.get("card", "") in cards]
    rates: dict[str, dict[int, tuple[float, ...]]] = {}
    for progress in whole:
        for card in progress.get("rates", {}):
            for count, rate in progress["rates"][card].items():
                if card in cards:
                    of_card = rates.setdefault(card, {})
                    before = of_card.get(int(count), ())
                    of_card[int(count)] = (*before, rate)[-RATES_KEPT:]
    return Observed(
        peak_bytes=max((p.get("peak_bytes", 0) for p in whole), default=0),
        too_many=min(map(packing.per_card, shares), default=0),
        is_shrunk=any(row.get("is_shrunk") for row in here),
        is_infeasible=any(row.get("is_infeasible") for row in here),
        rates=rates,
    )


def _record(row: Mapping[str, Any]) -> TrialRecord:
    """A record with what a row says."""
    oom = Failure(kind=FailureKind.OOM, message="oom")
    attempts = [
        _attempt(card, gpus=share, failure=oom)
        for card, shares in row.get("oom_shares", {}).items()
        for share in shares
    ]
    return replace(
        TrialRecord.new({}, seed=1),
        memory_key=row.get("memory_key", ""),
        is_shrunk=row.get("is_shrunk", False),
        is_infeasible=row.get("is_infeasible", False),
        attempts=(*attempts, _attempt(row.get("card", ""), gpus=1.0)),
        **row.get("progress", {}),
    )


def _attempt(card: str, *, gpus: float, failure: Failure | None = None) -> Attempt:
    return Attempt(
        slot="a",
        started_at=datetime.now(UTC),
        demand=Demand(cpus=1.0, gpus=gpus),
        card=card,
        failure=failure,
    )


@pytest.mark.parametrize("cards", [(), ("T4",)])
@given(writes=WRITES, every=st.integers(1, 9))
def test_row_by_row_is_as_all_at_once(
    cards: tuple[str, ...], writes: list[tuple[int, dict[str, Any]]], every: int
) -> None:
    rows: dict[int, dict[str, Any]] = {}
    changed: dict[int, TrialRecord] = {}
    observations = Observations(cards)
    for number, (place, row) in enumerate(writes):
        if place in rows:  # a trial keeps its key
            row = {**row, "memory_key": rows[place].get("memory_key", "a")}
        rows[place], changed[place] = row, _record(row)
        if number % every == 0:
            observations.update(changed)
            changed.clear()
            expected = _all_observed((rows[place] for place in sorted(rows)), cards)
            assert observations.by_key == expected

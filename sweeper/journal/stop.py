"""Why a driver starts nothing more, as values."""

from dataclasses import dataclass
from enum import StrEnum


class StopReason(StrEnum):
    """Why a driver ended before the sweep was finished."""

    NONE = "none"
    INTERRUPTED = "interrupted"
    BUDGET = "budget"
    ERROR = "error"  # one that every trial would meet
    FAILING = "failing"  # trial after trial failed in the same way


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """What makes a journal start nothing more; `reason` NONE while it starts."""

    reason: StopReason = StopReason.NONE
    message: str = ""

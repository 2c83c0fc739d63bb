"""What failures have in common: the same traceback, trial after trial; pure."""

from collections.abc import Sequence

from sweeper.journal.record import Failure

IN_A_ROW = 3


def repeated(ended: Sequence[tuple[str, Failure]]) -> tuple[str, ...]:
    """Ids of the newest trials that all failed in one way; () when they did not.

    Args:
        ended: failed trials with their last failures, in order; the caller starts
            anew after each trial that did not fail.
    """
    last = ended[-IN_A_ROW:]
    ways = {(failure.kind, failure.traceback) for _, failure in last}
    is_one = len(ways) == 1 and all(failure.traceback for _, failure in last)
    return tuple(name for name, _ in last) if len(last) == IN_A_ROW and is_one else ()


def message(ids: Sequence[str], failure: Failure, *, sweep: str) -> str:
    """One message for trials that failed in one way, and what to do.

    >>> from sweeper.protocol import FailureKind
    >>> boom = Failure(kind=FailureKind.ERROR, message="ValueError: x", traceback="1")
    >>> message(["a1", "b2", "c3"], boom, sweep="lr")
    '3 trials in a row failed alike (a1, b2, c3): ValueError: x; `sweeper logs lr c3` \
has the traceback; mend it, then `sweeper retry lr` puts them back'
    """
    what = failure.message
    return (
        f"{len(ids)} trials in a row failed alike ({', '.join(ids)}): {what}; "
        f"`sweeper logs {sweep} {ids[-1]}` has the traceback; mend it, then "
        f"`sweeper retry {sweep}` puts them back"
    )

"""Where a fit is cut: a count of events, at one of which the process ends."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field


class Cut(BaseException):
    """Stands for a kill: nothing of the project catches it."""


@dataclass
class Events:
    """Counts what a fit goes through.

    Attributes:
        names: what happened, in order.
        at: the event at which it ends, -1 for none.
        only: the one kind of event that `at` counts, "" for all.
        end: what ends it.
    """

    names: list[str] = field(default_factory=list)
    at: int = -1
    only: str = ""
    end: Callable[[], None] = lambda: None

    def __call__(self, name: str) -> None:
        self.names.append(name)
        count = self.names.count(self.only) if self.only else len(self.names)
        if count - 1 == self.at and self.only in ("", name):
            self.end()


def raise_cut() -> None:
    raise Cut


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


events = Events()


def expect(
    at: int = -1, *, only: str = "", end: Callable[[], None] = raise_cut
) -> Events:
    """Count anew; the events of the coming fit."""
    global events
    events = Events(at=at, only=only, end=end)
    return events


def event(name: str) -> None:
    """Called wherever a fit may be cut."""
    events(name)

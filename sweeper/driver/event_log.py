"""Events of a sweep, shown on the display and written to the sweep's log."""

from collections.abc import Sequence
from pathlib import Path

from sweeper.experiment.definition import unpriced
from sweeper.journal.record import Sweep
from sweeper.reporting.live import Display
from sweeper.reporting.progress import events
from sweeper.system import disk


class EventLog:
    """The events of a driver.

    While the disk is full, the lines of the log are held back: a driver that waited for
    space would not hear a signal.

    Args:
        folders: on each disk that the sweep writes to.
    """

    def __init__(self, folders: Sequence[Path], display: Display) -> None:
        self._folders = folders
        self._display = display
        self._unwritten: list[str] = []
        self._is_full = False
        self._last: dict[str, str] = {}

    def write(self, before: Sweep, after: Sweep) -> None:
        """Show and write the events between two states of the sweep."""
        lines = events(before, after)
        for event in lines:
            self._display.event(event)
        self._display.update(after)
        self._unwritten += map(str, lines)
        cards = {card for trial in after.trials for card in trial.card_seconds}
        self.write_once("price", unpriced(after.experiment.price, cards))
        self._watch_disk()
        if self._unwritten and not self._is_full:
            text = "".join(f"{line}\n" for line in self._unwritten)
            disk.append(after.paths.log, text.encode())
            self._unwritten.clear()

    def write_once(self, topic: str, message: str) -> None:
        """Show and write a message unless it is the last one of its topic, or empty."""
        if message and message != self._last.get(topic):
            self._display.event(message)
            self._unwritten.append(message)
        self._last[topic] = message

    def _watch_disk(self) -> None:
        pause = next(filter(None, map(self._pause, self._folders)), "")
        if pause and not self._is_full:
            self._display.event(pause)
        if self._is_full and not pause:
            self._display.event(disk.RESUMING)
        self._is_full = bool(pause)

    def _pause(self, folder: Path) -> str:
        may_be = self._is_full or disk.may_be_full(folder)
        reason = disk.problem(folder) if may_be else ""
        return disk.paused(folder, reason) if reason else ""

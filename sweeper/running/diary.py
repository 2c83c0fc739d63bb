"""What a driver tells, on the display and in the sweep's log; it decides nothing."""

from collections.abc import Sequence
from pathlib import Path

from sweeper.definition.settings import unpriced
from sweeper.host import disk
from sweeper.scheduling import events
from sweeper.storage import retention
from sweeper.trial import Sweep
from sweeper.views.live import Display


class Diary:
    """Tells what happens, on the display and in the sweep's log.

    While the disk is full it says so; the lines of the log are kept until there is
    space, since a driver that waited for them would not hear a signal.
    """

    def __init__(self, folders: Sequence[Path], display: Display) -> None:
        self._folders = folders
        self._display = display
        self._unwritten: list[str] = []
        self._is_full = False
        self._told = ""
        self._price = ""

    def tell(self, before: Sweep, after: Sweep) -> None:
        """Tell what is new in `after`."""
        lines = events.events(before, after)
        for event in lines:
            self._display.event(event)
        self._display.update(after)
        self._tell_price(after)
        self._tidy(before, after)
        self._unwritten += map(str, lines)
        self._watch_disk()
        if self._unwritten and not self._is_full:
            text = "".join(f"{line}\n" for line in self._unwritten)
            disk.append(after.paths.log, text.encode())
            self._unwritten.clear()

    def _tidy(self, before: Sweep, after: Sweep) -> None:
        """Let checkpoints go once a trial has ended."""
        ended, known = (
            {trial.id for trial in sweep.trials if trial.state.is_final}
            for sweep in (after, before)
        )
        if ended - known:
            message = retention.tidy(after)
            if message and message != self._told:
                self._display.event(message)
            self._told = message

    def _tell_price(self, sweep: Sweep) -> None:
        """Tell once which cards of the sweep have no price."""
        cards = {card for trial in sweep.trials for card in trial.card_seconds}
        message = unpriced(sweep.experiment.price, cards)
        if message and message != self._price:
            self._display.event(message)
            self._unwritten.append(message)
        self._price = message

    def _watch_disk(self) -> None:
        pause = next(filter(None, map(self._pause, self._folders)), "")
        if pause and not self._is_full:
            self._display.event(pause)
        if self._is_full and not pause:
            self._display.event(disk.GOING_ON)
        self._is_full = bool(pause)

    def _pause(self, folder: Path) -> str:
        may_be = self._is_full or disk.may_be_full(folder)
        reason = disk.problem(folder) if may_be else ""
        return disk.paused(folder, reason) if reason else ""

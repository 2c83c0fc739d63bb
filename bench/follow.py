"""The memory of a driver that follows a long sweep and writes its tables and report."""

import json
import resource
import sys
from pathlib import Path

from sweeper.driver import driver
from sweeper.driver.watch import EventLog
from sweeper.experiment import loading
from sweeper.journal import store
from sweeper.reporting.status import Display
from sweeper.system.paths import SweepPaths

LOOKS = 100


def follow(folder: Path) -> dict[str, float]:
    """Look at a sweep while its journal grows, as `driver._watch` does, and close it.

    Args:
        folder: where `journal.measured` has left a sweep; its journal is written
            anew, a hundredth before each look.

    Returns:
        The peak up to the last look, and that with the tables and the report.
    """
    written = SweepPaths(folder / "sweeps" / "bench").journal
    paths = SweepPaths(folder / "followed" / "bench")
    paths.folder.mkdir(parents=True)
    reader = store.Reader(loading.load(folder / "bench.yaml"), paths.folder)
    before = reader.sweep()
    event_log = EventLog(paths.folder, Display())
    size = -(-written.stat().st_size // LOOKS)
    with written.open("rb") as source, paths.journal.open("ab", 0) as journal:
        while part := source.read(size):
            journal.write(part)
            after = reader.sweep()
            event_log.write(before, after)
            before = after
    looked = _peak_bytes()
    driver.write_leaderboard(before)
    return {"driver_bytes": looked, "closed_bytes": _peak_bytes()}


def _peak_bytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


if __name__ == "__main__":
    print(json.dumps(follow(Path(sys.argv[1]))))

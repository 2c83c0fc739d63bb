"""Starts drivers as users do, watches what they print and ends what they start."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from sweeper.system import orphans

ROOT = Path(__file__).parents[2]
LOOP = ROOT / "tests" / "strangers" / "loop"
TIMEOUT_SECONDS = 600.0  # a slow machine with one core needs a part of it
MARK = "SWEEPER_TEST_DRIVER"  # in the environment of all that a driver starts


def command(*arguments: object) -> list[str]:
    """`python -m sweeper` with this interpreter."""
    return [sys.executable, "-m", "sweeper", *map(str, arguments)]


def sweeper(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def status(name: str, sweeps: Path) -> dict:  # type: ignore[type-arg]
    """`status --json` of a sweep."""
    done = sweeper("status", name, "--json", "--sweeps", sweeps)
    assert done.returncode == 0, done.stderr
    data: dict = json.loads(done.stdout)  # type: ignore[type-arg]
    return data


def results(name: str, sweeps: Path) -> dict[str, dict[str, float]]:
    """Objective by epoch of every trial, with all digits."""
    return {t["id"]: t["epochs"] for t in status(name, sweeps)["trials"]}


class Driver:
    """A `sweeper run` in the background."""

    def __init__(
        self,
        *arguments: object,
        output: Path,
        cwd: Path = ROOT,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.output = output
        self._mark = uuid.uuid4().hex
        with output.open("a") as file:
            self.process = subprocess.Popen(
                command("run", *arguments),
                cwd=cwd,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**(os.environ if env is None else env), MARK: self._mark},
                start_new_session=True,
            )

    def wait_for(self, text: str, *, count: int = 1) -> None:
        """Wait until the driver has printed `text` so often."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self.output.read_text().count(text) < count:
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.02)

    def wait(self) -> int:
        """Wait for the driver's end; its exit code."""
        return self.process.wait(timeout=TIMEOUT_SECONDS)

    def tail(self) -> str:
        """The end of what it has printed."""
        return self.output.read_text()[-3000:]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the driver alone."""
        os.kill(self.process.pid, number)

    def processes(self) -> dict[int, str]:
        """What the driver has started and is alive, with command lines."""
        found = {}
        marked = set(orphans.find(self._mark, MARK)) - {self.process.pid}
        for pid in marked:
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
                found[pid] = line.replace(b"\0", b" ").decode(errors="replace")
        return found

    def trial_processes(self) -> list[int]:
        """Trials: leaders of their own groups among the zygote's processes."""
        return [
            pid
            for pid, line in self.processes().items()
            if "sweeper.trial.zygote" in line and os.getpgid(pid) == pid
        ]

    def slots(self) -> list[int]:
        """Ray workers that Tune placed."""
        return self._named("ray::ImplicitFunc")

    def journals(self) -> list[int]:
        """The Ray worker that holds the journal."""
        return self._named("ray::JournalActor")

    def templates(self) -> list[int]:
        """The process that forks trials."""
        zygotes = set(self._named("sweeper.trial.zygote"))
        return sorted(pid for pid in zygotes if _parent(pid) not in zygotes)

    def raylets(self) -> list[int]:
        """Ray's process of the node."""
        return self._named("/raylet/raylet")

    def everything(self) -> list[int]:
        """The driver and all that it has started."""
        return [self.process.pid, *self.processes()]

    def _named(self, text: str) -> list[int]:
        return [pid for pid, line in self.processes().items() if text in line]

    def assert_gone(self, *, within_seconds: float = 60.0) -> None:
        """No process of this driver is alive after so long."""
        deadline = time.monotonic() + within_seconds
        while self.processes():
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.05)


def _parent(pid: int) -> int:
    """Parent of a process, 0 where it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


@contextlib.contextmanager
def driver(
    *arguments: object,
    output: Path,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
) -> Iterator[Driver]:
    """A driver that does not outlive the block, nor anything that it starts."""
    started = Driver(*arguments, output=output, cwd=cwd, env=env)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
        started.process.wait()
        while left := started.processes():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

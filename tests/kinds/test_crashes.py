"""Small things beside a running sweep, or a kill at a bad time, break nothing."""

import itertools
import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest
import yaml

from sweeper.experiment import loading, space
from sweeper.journal import recovery, retention, spec, store
from sweeper.packing import memory
from sweeper.system import locks
from sweeper.system.paths import SweepPaths, write_text
from sweeper.trial.compose import Composer
from tests.helpers import make_experiment, make_sweep, make_trial, open_journal


def _until(is_over: threading.Event, call) -> threading.Thread:  # type: ignore[no-untyped-def]
    def run() -> None:
        while not is_over.is_set():
            call()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_checkpoints_are_listed_while_a_trial_renames_and_removes_its_own(
    tmp_path: Path,
) -> None:
    sweep = make_sweep(tmp_path, make_trial(0, {"x": 1}, 0.5))
    paths = sweep.paths.trial(sweep.trials[0].id)
    paths.resume.mkdir(parents=True)
    paths.checkpoints.mkdir(parents=True, exist_ok=True)
    numbers = itertools.count()

    def train() -> None:
        number = next(numbers)
        (paths.checkpoints / f"epoch={number}.ckpt").write_bytes(b"0")
        (paths.checkpoints / f"epoch={number - 1}.ckpt").unlink(missing_ok=True)
        paths.last.write_bytes(b"0")
        paths.last.replace(paths.resume / "previous.ckpt")

    is_over = threading.Event()
    thread = _until(is_over, train)
    try:
        for _ in range(500):
            retention.find(sweep)
    finally:
        is_over.set()
        thread.join()


def test_a_reader_of_a_lock_keeps_nobody_from_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locks.hold(path):
        pass
    is_over = threading.Event()
    threads = [_until(is_over, lambda: locks.is_held(path)) for _ in range(2)]
    try:
        for _ in range(300):
            with locks.hold(path) as other:
                assert other is None
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_a_lock_that_is_shared_for_long_is_waited_for(tmp_path: Path) -> None:
    import fcntl

    path = tmp_path / "lock"
    path.touch()
    reader = path.open()
    fcntl.flock(reader, fcntl.LOCK_SH)
    timer = threading.Timer(0.3, reader.close)
    timer.start()
    with locks.hold(path) as other:
        assert other is None
    timer.join()


@pytest.fixture
def three_specs(tmp_path: Path) -> SweepPaths:
    """A sweep whose three trials have started, moved to another folder since."""
    journal = open_journal(tmp_path)
    for slot in "abc":
        assert journal.claim(slot) is not None
        started = journal.start(slot)
        write_text(Path(started.folder) / "spec.json", started.to_json())
    old = SweepPaths(tmp_path / "sweeps" / "toy")
    store.save_experiment(make_experiment(tmp_path), old)
    return SweepPaths(old.folder.rename(tmp_path / "moved"))


@pytest.mark.parametrize("right", [0, 1, 2])
def test_all_specs_of_a_moved_sweep_follow_though_some_did_before_a_kill(
    three_specs: SweepPaths, right: int
) -> None:
    loaded = store.load_experiment(three_specs)
    files = sorted(three_specs.trials.glob("*/spec.json"))
    before = [path.read_text() for path in files]
    spec.relocate(three_specs, loaded)
    for index, text in enumerate(before):  # the kill came after one had been written
        if index != right:
            files[index].write_text(text)
    spec.relocate(three_specs, loaded)
    found = [spec.read(path) for path in files]
    assert [f.folder for f in found if f] == [str(path.parent) for path in files]


@pytest.mark.parametrize("kept_steps", [0, 1, 2])
def test_a_kill_within_a_repair_leaves_a_journal(
    three_specs: SweepPaths, kept_steps: int
) -> None:
    loaded = store.load_experiment(three_specs)
    lines = three_specs.journal.read_bytes().splitlines(keepends=True)
    lines[-2] = b"\0" * 20 + lines[-2][20:]
    three_specs.journal.write_bytes(b"".join(lines))
    child = os.fork()
    if child == 0:
        _die_at_rename(kept_steps)
        recovery.repair(loaded, three_specs)
        os._exit(0)
    os.waitpid(child, 0)
    assert three_specs.journal.read_bytes().splitlines(keepends=True)[0] == lines[0]
    recovery.repair(loaded, three_specs)
    assert len(store.load_sweep(three_specs.folder).trials) == 3
    kept = three_specs.journal.with_name("journal.jsonl.damaged-1")
    assert kept.read_bytes() == b"".join(lines)


def _die_at_rename(number: int) -> None:
    """Kill this process when it has renamed so many files and would rename one more."""
    counter = itertools.count()

    def watch(event: str, _: object) -> None:
        if event == "os.rename" and next(counter) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


TARGET = """
import os, pathlib, signal

if pathlib.Path("kill").exists():
    os.kill({victim}, signal.{name})


def train(cfg):
    return
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "name"),
    [
        pytest.param("os.getpid()", "SIGINT", marks=pytest.mark.long),
        ("os.getpid()", "SIGKILL"),
    ],
)
@pytest.mark.long
def test_a_prediction_that_was_killed_is_made_again_by_the_next_start(
    tmp_path: Path, victim: str, name: str
) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "toy.py").write_text(TARGET.format(victim=victim, name=name))
    (tmp_path / "toy.yaml").write_text("a: 1\n")
    keys = {"target": "toy:train", "config": "toy.yaml", "search_space": {"a": [1, 2]}}
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump({**keys, "objective": {"metric": "acc"}}))
    loaded = loading.load(file)
    parsed = space.parse(loaded, Composer(tmp_path / "toy.yaml", tmp_path).groups())
    cache = tmp_path / "memory.json"
    (tmp_path / "kill").touch()
    found = memory.predict(loaded, parsed, cache=cache)
    assert {f.how for f in found.values()} == {"none"}
    assert not cache.exists()
    (tmp_path / "kill").unlink()
    found = memory.predict(loaded, parsed, cache=cache)
    assert all("without Trainer.fit" in f.note for f in found.values())
    kept = json.loads(cache.read_text())["predictions"]
    assert kept.keys() == found.keys()  # the target itself says so, at any time

"""A fit that is killed and called again equals one that was not, to the last bit."""

import random
import re
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sweeper.protocol import Decision
from sweeper.system.paths import TrialPaths
from tests import resume_fuzz
from tests.exact import running
from tests.exact.cases import CASES, QUICK
from tests.exact.running import History, make_spec

# Lightning's and torch's advice to the author of the toy project.
pytestmark = pytest.mark.filterwarnings("ignore")


def _cuts(name: str, events: int, count: int) -> list[int]:
    """Places of a case's cuts: always the same ones, of each case others."""
    stream = random.Random(zlib.crc32(f"{name} {count}".encode()))  # noqa: S311
    return sorted(stream.sample(range(events), count), reverse=True)


def _check(folder: Path, name: str, *, counts: tuple[int, ...], **keys: int) -> None:
    """Run a case whole, then cut as often as `counts` say, each time another trial."""
    overrides = CASES[name]
    whole = make_spec(folder / "whole", overrides)
    history = History()
    events = running.run(whole, history)
    for count in counts:
        cut = make_spec(folder / f"cut{count}", overrides, **keys)
        other = History()
        places = _cuts(name, len(events), count)
        for place in places:
            running.run(cut, other, cut_at=place)
        running.run(cut, other)
        where = f"cut at {[events[place] for place in places]} {places}"
        assert not running.differences(history.metrics, other.metrics), where
        assert not running.differences(running.result(whole), running.result(cut)), (
            where
        )


@pytest.mark.parametrize("name", QUICK)
def test_a_fit_that_was_cut_ends_as_one_that_was_not(name: str, tmp_path: Path) -> None:
    _check(tmp_path, name, counts=(1,))


# One of several that rest on the same mechanism; `make long` runs all.
ALIKE = {
    *("thaw by hand", "batch norm in eval mode", "max_epochs moved"),
    *("GradientAccumulationScheduler", "one net, two Trainers", "folds"),
    *("one Trainer, two fits", "a fit that fails and another one"),
    *("LearningRateFinder at milestones", "Tuner", "two workers", "own generator"),
    *("own generator, persistent workers", "weighted sampler", "StatefulDataLoader"),
    *("two loaders", "StepLR", "ReduceLROnPlateau per step"),
    *("validation every other epoch", "EarlyStopping", "EMA that resets itself"),
    *("work in on_train_epoch_start", "own ModelCheckpoint with names"),
    "ckpt_path=last",
}
SURVIVING = [
    pytest.param(name, marks=pytest.mark.long) if name in ALIKE else name
    for name in CASES
    if name not in QUICK
]


def test_every_name_of_a_similar_fit_is_one() -> None:
    assert set(CASES) - set(QUICK) >= ALIKE


@pytest.mark.slow
@pytest.mark.parametrize("name", SURVIVING)
@pytest.mark.few(9)
def test_every_kind_of_fit_survives_two_cuts(name: str, tmp_path: Path) -> None:
    _check(tmp_path, name, counts=(2,))


@pytest.mark.slow
@pytest.mark.long
def test_a_cut_at_any_hook_of_an_epoch_loses_nothing(tmp_path: Path) -> None:
    overrides = ("epochs=3", "callbacks=[early_stopping,averaging,checkpoint]")
    whole = make_spec(tmp_path / "whole", overrides)
    history = History()
    events = running.run(whole, history)
    seen: set[str] = set()
    # From the second epoch on, each hook once; then the last places of all.
    second = events.index("first on_train_epoch_end")
    for place in (*range(second, len(events)),):
        if events[place] in seen:
            continue
        seen.add(events[place])
        cut, other = make_spec(tmp_path / f"{place}", overrides), History()
        running.run(cut, other, cut_at=place)
        running.run(cut, other)
        found = running.differences(running.result(whole), running.result(cut))
        assert not found, events[place]
        assert not running.differences(history.metrics, other.metrics), events[place]
    assert "after fit" in seen


@pytest.mark.parametrize(
    "callbacks", ["", pytest.param("averaging,early_stopping", marks=pytest.mark.slow)]
)
@pytest.mark.few(1)
def test_three_epochs_and_then_six_are_six(tmp_path: Path, callbacks: str) -> None:
    common = (f"callbacks=[{callbacks}]", "scheduler=cosine", "patience=5")
    whole, grown = (make_spec(tmp_path / n, ("epochs=6", *common)) for n in "ab")
    history, other = History(), History()
    running.run(whole, history)
    running.run(make_spec(tmp_path / "b", ("epochs=3", *common)), other)
    assert len(other.metrics) == 3
    running.run(grown, other)
    assert not running.differences(running.result(whole), running.result(grown))
    assert not running.differences(history.metrics, other.metrics)


@pytest.mark.slow
def test_a_pause_goes_on_where_it_was(tmp_path: Path) -> None:
    whole, paused = (make_spec(tmp_path / name, ()) for name in "ab")
    history, other = History(), History()
    running.run(whole, history)
    other.decide = lambda epoch: Decision.PAUSE if epoch == 2 else Decision.CONTINUE
    running.run(paused, other)
    assert list(other.metrics) == [1, 2]
    running.run(paused, other)
    assert not running.differences(running.result(whole), running.result(paused))
    assert not running.differences(history.metrics, other.metrics)


@pytest.mark.slow
@pytest.mark.parametrize("overrides", ["callbacks=[averaging]", "callbacks=[ema]"])
@pytest.mark.few(1)
def test_a_fit_killed_after_its_end_has_the_averaged_weights(
    tmp_path: Path, overrides: str
) -> None:
    whole, cut = (make_spec(tmp_path / name, ("epochs=2", overrides)) for name in "ab")
    events = running.run(whole, History())
    running.run(cut, History(), cut_at=len(events) - 1)
    assert events[-1] == "after fit"
    running.run(cut, History())
    one, other = running.result(whole), running.result(cut)
    assert not running.differences(one["weights"], other["weights"])


@pytest.mark.slow
def test_a_warm_start_is_taken_once_and_then_the_trials_own(tmp_path: Path) -> None:
    before = make_spec(tmp_path / "before", ("epochs=1", "callbacks=[checkpoint]"))
    running.run(before, History())
    weights = tmp_path / "before" / "checkpoints" / "last.ckpt"
    overrides = (f"ckpt_path={weights}", "callbacks=[checkpoint]")
    whole, cut = (make_spec(tmp_path / name, overrides) for name in "ab")
    history, other = History(), History()
    events = running.run(whole, history)
    assert list(history.metrics) == [2, 3, 4]
    running.run(cut, other, cut_at=len(events) * 2 // 3)
    running.run(cut, other)
    assert not running.differences(running.result(whole), running.result(cut))
    assert not running.differences(history.metrics, other.metrics)


@pytest.mark.slow
def test_a_stopped_trial_stays_stopped_until_it_is_promoted(tmp_path: Path) -> None:
    overrides = ("scheduler=plateau", "callbacks=[early_stopping]", "patience=9")
    whole, cut = (make_spec(tmp_path / name, overrides) for name in "ab")
    running.run(whole, History())
    stop = History(decide=lambda e: Decision.STOP if e == 2 else Decision.CONTINUE)
    running.run(cut, stop)
    running.run(replace(cut, is_stopped=True), stop)  # killed before it was recorded
    assert list(stop.metrics) == [1, 2]
    other = History()
    running.run(cut, other)
    assert list(other.metrics) == [3, 4]
    assert not running.differences(running.result(whole), running.result(cut))


@pytest.mark.slow
def test_what_a_killed_first_epoch_left_is_no_warm_start(tmp_path: Path) -> None:
    own = tmp_path / "b" / "checkpoints" / "best.ckpt"
    overrides = ("epochs=2", "callbacks=[checkpoint]")
    whole = make_spec(tmp_path / "a", overrides)
    cut = make_spec(tmp_path / "b", (*overrides, f"ckpt_path={own}"))
    events = running.run(whole, History())
    before = make_spec(tmp_path / "b", overrides)
    first = events.index("last on_save_checkpoint")  # of best.ckpt, then of last.ckpt
    second = events.index("last on_save_checkpoint", first + 1)
    running.run(before, History(), cut_at=second)
    assert own.exists()
    assert not TrialPaths(tmp_path / "b").last.exists()
    running.run(cut, History())
    assert not running.differences(running.result(whole), running.result(cut))


@pytest.mark.slow
def test_a_trials_folder_may_be_moved_between_two_starts(tmp_path: Path) -> None:
    overrides = ("callbacks=[checkpoint_names]",)
    whole, cut = (make_spec(tmp_path / name, overrides) for name in "ab")
    events = running.run(whole, History())
    running.run(cut, History(), cut_at=len(events) * 2 // 3)
    (tmp_path / "b").rename(tmp_path / "c")
    moved = make_spec(tmp_path / "c", overrides)
    running.run(moved, History())
    assert not running.differences(running.result(whole), running.result(moved))


def test_a_project_may_draw_before_its_fit(tmp_path: Path) -> None:
    torch.manual_seed(1)  # what the process did before does not matter
    one, other = (make_spec(tmp_path / name, ("epochs=1",)) for name in "ab")
    running.run(one, History())
    torch.rand(5)
    running.run(other, History())
    assert not running.differences(running.result(one), running.result(other))


@pytest.mark.slow
@pytest.mark.long
def test_a_fit_killed_at_random_times_ends_the_same(tmp_path: Path) -> None:
    stream = random.Random(3)  # noqa: S311
    assert resume_fuzz.one_round(tmp_path, stream) == ""


def test_each_test_that_the_page_on_resume_names_exists() -> None:
    tests = Path(__file__).parent
    text = "".join(path.read_text() for path in tests.rglob("test_*.py"))
    page = (tests.parent / "docs" / "resume.md").read_text()
    names = set(re.findall(r"`(test_\w+)`", page))
    assert len(names) > 15
    assert {name for name in names if f"def {name}(" not in text} == set()

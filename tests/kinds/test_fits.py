"""Kind 1: each fit of a trial resumes from its own state, where it was left."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.protocol import Decision
from sweeper.system.paths import TrialPaths
from sweeper.trial import worker
from sweeper.trial.exact_resume import loop_state
from sweeper.trial.exact_resume.loop_state import FitPosition
from tests.exact import running
from tests.exact.cases import CASES
from tests.exact.running import History, make_spec

pytestmark = pytest.mark.filterwarnings("ignore")

FOLDS = ("kind=folds", "epochs=2")
EPOCHS = "first on_train_epoch_start"


def _cut(folder: Path, overrides: tuple[str, ...], *cuts: int) -> tuple[History, ...]:
    """Run a whole trial and one that is cut at starts of epochs, which must be equal.

    Returns:
        The reports of each attempt of the one that is cut.
    """
    whole, cut = (make_spec(folder / name, overrides) for name in ("whole", "cut"))
    history, attempts = History(), []
    running.run(whole, history)
    for place in (*cuts, -1):
        attempts.append(History())
        running.run(cut, attempts[-1], cut_at=place, only=EPOCHS)
    metrics = {e: row for attempt in attempts for e, row in attempt.metrics.items()}
    assert not running.differences(history.metrics, metrics)
    assert not running.differences(running.result(whole), running.result(cut))
    return tuple(attempts)


def test_finished_folds_are_not_trained_again_and_epochs_count_on(
    tmp_path: Path,
) -> None:
    attempts = _cut(tmp_path, FOLDS, 3)  # at the second epoch of the second fold
    assert [list(attempt.metrics) for attempt in attempts] == [[1, 2, 3], [4, 5, 6]]


def test_a_fold_that_the_target_skips_by_itself_is_not_mixed_up(
    tmp_path: Path,
) -> None:
    attempts = _cut(tmp_path, ("kind=skipped", "epochs=2"), 3, 0)
    assert list(attempts[1].metrics) == []
    assert list(attempts[2].metrics) == [4, 5, 6]


@pytest.mark.slow
def test_a_fold_that_never_began_is_not_taken_for_the_one_that_was_skipped(
    tmp_path: Path,
) -> None:
    words = ("kind=skipped", "epochs=2")
    whole, cut = (make_spec(tmp_path / name, words) for name in ("whole", "cut"))
    running.run(whole, History())
    running.run(cut, History(), cut_at=0, only="between fits")
    history = History()
    running.run(cut, history)
    assert list(history.metrics) == [3, 4, 5, 6]
    assert not running.differences(running.result(whole), running.result(cut))


@pytest.mark.slow
@pytest.mark.parametrize("place", [1, 2], ids=["first fold", "start of the second"])
@pytest.mark.few(1)
def test_a_cut_in_any_fold_ends_the_same(tmp_path: Path, place: int) -> None:
    _cut(tmp_path, FOLDS, place)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "pretraining",
        "one Trainer, two fits",
        "from the best of a first fit",
        "a fit that fails and another one",
    ],
)
@pytest.mark.few(2)
def test_fits_that_follow_from_each_other_end_the_same(
    name: str, tmp_path: Path
) -> None:
    _cut(tmp_path, CASES[name], 3, 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folds", "one_net", "search_rate", "search_batch"])
@pytest.mark.few(2)
def test_more_epochs_equal_a_trial_that_trained_them_at_once(
    kind: str, tmp_path: Path
) -> None:
    running.run(make_spec(tmp_path / "warm", (f"kind={kind}",)), History())
    words = (f"kind={kind}", "epochs=4")
    whole, grown = (make_spec(tmp_path / name, words) for name in "ab")
    history, other = History(), History()
    running.run(whole, history)
    short = make_spec(tmp_path / "b", (f"kind={kind}", "epochs=3"))
    running.run(short, other)
    running.run(grown, other, cut_at=0, only=EPOCHS)
    running.run(grown, other)
    assert not running.differences(history.metrics, other.metrics)
    assert not running.differences(running.result(whole), running.result(grown))


@pytest.mark.slow
@pytest.mark.parametrize("steps", [0, 1], ids=["epochs", "steps"])
@pytest.mark.parametrize("place", [2, 3], ids=["at the search", "after it"])
@pytest.mark.few(1)
def test_a_search_at_a_later_epoch_searches_again_where_it_was_cut(
    place: int, steps: int, tmp_path: Path
) -> None:
    words = CASES["LearningRateFinder at milestones"]
    whole = make_spec(tmp_path / "whole", words)
    cut = make_spec(tmp_path / "cut", words, checkpoint_steps=steps)
    running.run(whole, History())
    running.run(cut, History(), cut_at=place, only=EPOCHS)
    running.run(cut, History(), cut_at=3, only="first on_train_batch_end")
    running.run(cut, History())
    assert not running.differences(running.result(whole), running.result(cut))


def test_a_stopped_trial_begins_no_further_fit(tmp_path: Path) -> None:
    spec = make_spec(tmp_path / "a", FOLDS)
    stop = History(decide=lambda e: Decision.STOP if e == 1 else Decision.CONTINUE)
    running.run(spec, stop)
    assert list(stop.metrics) == [1]


def test_a_pause_at_the_end_of_a_fold_resumes_with_the_next(tmp_path: Path) -> None:
    spec = make_spec(tmp_path / "a", FOLDS)
    pause = History(decide=lambda e: Decision.PAUSE if e == 2 else Decision.CONTINUE)
    running.run(spec, pause)
    assert list(pause.metrics) == [1, 2]
    other = History()
    running.run(spec, other)
    assert list(other.metrics) == [3, 4, 5, 6]


def test_the_newest_fit_has_the_last_checkpoint(tmp_path: Path) -> None:
    spec = make_spec(tmp_path / "a", FOLDS)
    running.run(spec, History())
    paths = TrialPaths(Path(spec.folder))
    assert paths.last == paths.resume / "fit-3" / "last.ckpt"
    assert torch.load(paths.last, weights_only=False)["global_step"] == 2 * 6


# ---- objectives that only some fits log


def test_an_objective_that_only_the_second_fit_logs_counts(tmp_path: Path) -> None:
    words = (*CASES["pretraining"], "epochs=1")
    spec = make_spec(tmp_path / "a", words, metric="second")
    outcome = worker.run_trial(spec, History().ask)
    assert outcome.event == "finished", outcome


def test_an_objective_that_no_fit_logs_ends_with_the_names_that_are_logged(
    tmp_path: Path,
) -> None:
    spec = make_spec(tmp_path / "a", ("epochs=1",), metric="val/los")
    outcome = worker.run_trial(spec, History().ask)
    assert outcome.event == "fatal"
    assert "'val/los' is not logged" in outcome.message
    assert "did you mean 'val/loss'" in outcome.message


# ---- the guard


def test_a_fit_that_is_moved_after_its_resume_ends_with_what_differs(
    tmp_path: Path,
) -> None:
    spec = make_spec(tmp_path / "a", ("kind=misplaced",))
    running.run(spec, History(), cut_at=2, only=EPOCHS)
    outcome = worker.run_trial(spec, History().ask)
    assert outcome.event == "failed"
    assert "last.ckpt puts it: epoch 0 instead of 2" in outcome.message
    assert "global step 6 instead of 12" in outcome.message
    assert "steps of optimizer 0 6 instead of 12" in outcome.message


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (FitPosition(2, 12, ((12, 4),)), ""),
        (FitPosition(0, 12, ((12, 4),)), "epoch 0 instead of 2"),
        (FitPosition(2, 3, ((12, 4),)), "global step 3 instead of 12"),
        (FitPosition(2, 12, ()), "steps of optimizer 0 0 instead of 12"),
        (FitPosition(2, 12, ((12, 2),)), "parameters with a state in optimizer 0 2"),
    ],
)
def test_a_position_says_what_differs(now: FitPosition, says: str) -> None:
    found = FitPosition(2, 12, ((12, 4),)).differences(now)
    assert found.startswith(says) if says else not found


def _reset(optimizer: torch.optim.Optimizer) -> None:
    optimizer.state.clear()


@pytest.mark.parametrize(
    ("change", "is_wrong"),
    [(_reset, False), (lambda optimizer: None, True)],
    ids=["started anew", "kept"],
)
def test_only_a_hook_of_an_epoch_may_start_an_optimizer_anew(
    change: Callable[[torch.optim.Optimizer], None], is_wrong: bool
) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()
    optimizer.step()
    change(optimizer)
    trainer = _Standing([optimizer])
    expected = FitPosition(0, 0, ((7, 1),))
    arguments: dict[str, Any] = {
        "source": "last.ckpt",
        "is_fresh": False,
        "may_reset": True,
    }
    if is_wrong:
        with pytest.raises(loop_state.MisplacedFitError, match="1 instead of 7"):
            loop_state.check_position(expected, trainer, **arguments)  # type: ignore[arg-type]
    else:
        loop_state.check_position(expected, trainer, **arguments)  # type: ignore[arg-type]


class _Standing:
    """As much of a Trainer as says where its fit stands."""

    current_epoch = global_step = 0

    def __init__(self, optimizers: list[torch.optim.Optimizer]) -> None:
        self.optimizers = optimizers

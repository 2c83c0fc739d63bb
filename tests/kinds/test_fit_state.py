"""Kind 2: what training changes outside of `state_dict` is part of a resume."""

import collections
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torchmetrics import MeanMetric

from sweeper.protocol import Decision, Lineage
from sweeper.trial import values
from sweeper.trial.exact_resume import untracked_state
from tests.exact import running
from tests.exact.cases import CASES
from tests.exact.running import History, make_spec

pytestmark = pytest.mark.filterwarnings("ignore")

CHANGING = ("finetuning", "thaw", "frozen_norm", "attributes", "longer")
SLOW = pytest.mark.slow


def _kinds(*quick: str) -> list[Any]:
    return [
        pytest.param(kind, marks=() if kind in quick else SLOW) for kind in CHANGING
    ]


def _whole(folder: Path, words: tuple[str, ...]) -> tuple[dict[str, Any], History]:
    spec, history = make_spec(folder / "whole", words), History()
    running.run(spec, history)
    return running.result(spec), history


@pytest.mark.parametrize("kind", _kinds("finetuning", "thaw"))
@pytest.mark.few(1)
def test_a_fit_that_is_cut_after_the_change_ends_the_same(
    kind: str, tmp_path: Path
) -> None:
    words = (f"kind={kind}",)
    result, history = _whole(tmp_path, words)
    cut, other = make_spec(tmp_path / "cut", words), History()
    running.run(cut, other, cut_at=3, only="first on_train_epoch_start")
    running.run(cut, other)
    assert not running.differences(history.metrics, other.metrics)
    assert not running.differences(result, running.result(cut))


@pytest.mark.parametrize("kind", _kinds("frozen_norm"))
def test_a_pause_after_the_change_keeps_it(kind: str, tmp_path: Path) -> None:
    words = (f"kind={kind}",)
    result, _ = _whole(tmp_path, words)
    spec = make_spec(tmp_path / "paused", words)
    pause = History(decide=lambda e: Decision.PAUSE if e == 3 else Decision.CONTINUE)
    running.run(spec, pause)
    running.run(spec, History())
    assert not running.differences(result, running.result(spec))


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHANGING)
@pytest.mark.few(2)
def test_more_epochs_after_the_change_keep_it(kind: str, tmp_path: Path) -> None:
    result, _ = _whole(tmp_path, (f"kind={kind}", "epochs=5"))
    running.run(make_spec(tmp_path / "a", (f"kind={kind}", "epochs=3")), History())
    spec = make_spec(tmp_path / "a", (f"kind={kind}", "epochs=5"))
    running.run(spec, History())
    assert not running.differences(result, running.result(spec))


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHANGING)
@pytest.mark.few(1)
def test_a_trial_that_is_promoted_after_the_change_keeps_it(
    kind: str, tmp_path: Path
) -> None:
    result, _ = _whole(tmp_path, (f"kind={kind}",))
    spec = make_spec(tmp_path / "a", (f"kind={kind}",))
    stop = History(decide=lambda e: Decision.STOP if e == 3 else Decision.CONTINUE)
    running.run(spec, stop)
    assert list(stop.metrics) == [1, 2, 3]
    running.run(spec, History())
    assert not running.differences(result, running.result(spec))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*CHANGING, "folds"])
@pytest.mark.few(2)
def test_a_child_of_a_population_has_what_its_parent_changed(
    kind: str, tmp_path: Path
) -> None:
    words = (f"kind={kind}",)
    result, _ = _whole(tmp_path, words)
    parent = make_spec(tmp_path / "parent", words, params={"lr": 0.05})
    at = 6 if kind == "folds" else 3
    stop = History(decide=lambda e: Decision.STOP if e == at else Decision.CONTINUE)
    running.run(parent, stop)
    place = Lineage(parent="parent", generation=1, member=0, start=at, until=4)
    spec = make_spec(tmp_path / "child", words, params={"lr": 0.05}, lineage=place)
    running.run(spec, History())
    assert not running.differences(result, running.result(spec))


@pytest.mark.slow
def test_a_child_with_another_rate_keeps_the_groups_of_a_thaw(tmp_path: Path) -> None:
    words = ("kind=thaw",)
    parent = make_spec(tmp_path / "parent", words, params={"lr": 0.05})
    stop = History(decide=lambda e: Decision.STOP if e == 3 else Decision.CONTINUE)
    running.run(parent, stop)
    place = Lineage(parent="parent", generation=1, member=0, start=3, until=4)
    own = {"params": {"lr": 0.02}, "lineage": place}
    spec = make_spec(tmp_path / "child", (*words, "lr=0.02"), **own)
    running.run(spec, History())
    groups = running.result(spec)[0]["optimizers"][0]["param_groups"]
    assert [group["lr"] for group in groups] == [0.02, 0.01]


@pytest.mark.slow
def test_more_epochs_after_the_pass_of_swa_train_as_many_as_at_once(
    tmp_path: Path,
) -> None:
    result, history = _whole(tmp_path, ("kind=averaging", "epochs=7"))
    other = History()
    running.run(make_spec(tmp_path / "a", ("kind=averaging", "epochs=5")), other)
    spec = make_spec(tmp_path / "a", ("kind=averaging", "epochs=7"))
    running.run(spec, other, cut_at=1, only="first on_train_epoch_start")
    running.run(spec, other)
    assert not running.differences(history.metrics, other.metrics)
    assert not running.differences(result, running.result(spec))


def test_what_a_resume_cannot_repeat_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = frozenset({"a.weight"})
    untracked_state.warn_of_changes((names, 1), (names, 1))
    assert not caplog.records
    untracked_state.warn_of_changes((names, 1), (names, 3))
    assert "2 hooks" in caplog.text
    untracked_state.warn_of_changes((names, 1), (frozenset({"a.weight_orig"}), 1))
    assert "a.weight, a.weight_orig" in caplog.text


# ---- values


class _Counter:
    """An object with a state of its own."""

    def __init__(self, count: int) -> None:
        self.count = count

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


def _mean(value: float) -> MeanMetric:
    metric = MeanMetric()
    metric.update(value)
    return metric


@pytest.mark.parametrize(
    ("fresh", "trained"),
    [
        (1, 2),
        (1.0, float("nan")),
        (None, "best"),
        ([1, 2], [1, 2, 3]),
        ((0.1, 0.2), (0.1, 0.3)),
        (collections.deque([1]), collections.deque([1, 2])),
        ({"a": 1, "gone": 2}, {"a": 2, "new": [3]}),
        (torch.zeros(3), torch.tensor([1.0, 0.0, 0.0])),
        (torch.zeros(0), torch.ones(1)),
        (torch.zeros(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
        (_Counter(0), _Counter(4)),
        ([_Counter(0)], [_Counter(4)]),
        (_mean(1.0), _mean(2.0)),
        (nn.Linear(2, 2), nn.Linear(2, 2)),
    ],
    ids=repr,
)
def test_a_changed_value_is_noticed_saved_and_put_back(
    fresh: Any, trained: Any, tmp_path: Path
) -> None:
    mark = values.fingerprint(trained, ())
    assert mark != values.fingerprint(fresh, ())
    torch.save({"value": values.copy(trained, ())}, tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=False)["value"]
    assert values.fingerprint(values.restored(fresh, saved), ()) == mark


@pytest.mark.parametrize("value", [object(), [object()], collections.Counter])
def test_a_value_that_cannot_be_saved_counts_as_unchanged(value: object) -> None:
    assert values.fingerprint(value, ()) is values.OPAQUE


def test_containers_are_filled_again_so_that_others_who_hold_them_see_it() -> None:
    history, table = [1], {"a": 1}
    values.restored(history, [1, 2])
    values.restored(table, {"b": 2})
    assert history == [1, 2]
    assert table == {"b": 2}


@pytest.mark.parametrize("name", untracked_state.flags())
def test_each_flag_of_the_process_can_be_read_and_set(name: str) -> None:
    read, write = untracked_state.flags()[name]
    before = read()
    write(before)
    assert read() == before


def test_attributes_that_every_module_has_are_not_looked_at() -> None:
    module = LightningModule()
    module.tau = 1.0
    names = {name for name, _ in untracked_state._attributes("module ", module)}
    assert names == {"training", "tau"}


def test_each_kind_of_change_has_a_case_for_the_fuzz() -> None:
    words = {word for overrides in CASES.values() for word in overrides}
    assert {f"kind={kind}" for kind in CHANGING} <= words

"""Each trial has a demand of its own: by memory, by what went wrong, by speed."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from optuna.trial import TrialState

from sweeper.experiment import space
from sweeper.experiment.loading import load
from sweeper.journal import store
from sweeper.journal.journal import Journal
from sweeper.journal.queue import Assignment
from sweeper.journal.record import Demand, Failure, State, Sweep, TrialRecord
from sweeper.journal.run_context import RunContext
from sweeper.packing import packing_report
from sweeper.packing.observations import Observed
from sweeper.packing.packing import CARDS, BatchKeys, share
from sweeper.protocol import Decision, FailureKind, Report
from sweeper.reporting import export, status
from sweeper.search.history import History
from sweeper.system.text import GIB
from sweeper.trial import endings
from tests.helpers import CONTEXT, make_experiment

QUARTER = Demand(cpus=1.0, gpus=0.25, accelerator="T4")
CARD = replace(
    CONTEXT,
    demand=QUARTER,
    slots=8,
    cards=2,
    node_cpus=8.0,
    node_gpus=2,
    device_bytes=CARDS["T4"].device_bytes,
    batch=BatchKeys(batch="batch_size", accumulation="acc", batch_size=8),
)
AUTO = replace(CARD, demand=replace(QUARTER, gpus=1.0), is_auto=True)


def _open(folder: Path, context: RunContext = CARD, **keys: object) -> Journal:
    keys = {"search_space": {"batch_size": [8, 16, 32], "lr": [0.1, 0.2]}, **keys}
    experiment = make_experiment(folder, **keys)
    parsed = space.parse(experiment, {})
    return Journal(experiment, parsed, folder / "sweeps" / "toy", context)


def _sweep(folder: Path) -> Sweep:
    return store.Reader(load(folder / "toy.yaml"), folder / "sweeps" / "toy").sweep()


def _trials(folder: Path) -> dict[str, TrialRecord]:
    return {trial.id: trial for trial in _sweep(folder).trials}


def _oom() -> Failure:
    """What a worker makes of torch's own error."""
    outcome = endings.of_exception(
        torch.OutOfMemoryError("CUDA out of memory"), project=Path()
    )
    assert outcome.kind == FailureKind.OOM
    return Failure(kind=FailureKind(outcome.kind), message=outcome.message)


def _report(
    journal: Journal, slot: str, usage: Mapping[str, float], *, epoch: int = 1
) -> Decision:
    return journal.report(
        slot, Report(epoch=epoch, values=(0.5,), busy_seconds=1.0, usage=usage)
    )


def _attempts(journal: Journal, slot: str = "a") -> Iterator[Demand]:
    """The demand of each attempt of all trials, each of which runs out of memory."""
    while (asked := journal.claim(slot)) is not None:
        journal.start(slot)
        yield asked
        journal.fail(slot, _oom())


def test_a_trial_that_runs_out_of_memory_climbs_to_a_whole_card(tmp_path: Path) -> None:
    journal = _open(tmp_path, search_space={"batch_size": [8]})
    assert [asked.gpus for asked in _attempts(journal)] == [0.25, 0.5, 1.0]
    (trial,) = _trials(tmp_path).values()
    assert trial.state is State.FAILED
    assert [failure.kind for failure in trial.failures] == [FailureKind.OOM] * 3


def test_the_cores_of_a_trial_grow_with_its_share(tmp_path: Path) -> None:
    journal = _open(tmp_path, search_space={"batch_size": [8]})
    assert [asked.cpus for asked in _attempts(journal)] == [1.0, 2.0, 4.0]


def test_a_longer_training_keeps_the_threads_of_the_first_start(tmp_path: Path) -> None:
    """They are a part of bit-equality."""
    space_ = {"batch_size": [8]}
    journal = _open(tmp_path, search_space=space_, overrides=["max_epochs=1"])
    assert journal.claim("a") == QUARTER
    assert journal.start("a").threads == 1
    _report(journal, "a", {})
    journal.finish("a")
    whole = replace(CARD, demand=Demand(cpus=4.0, gpus=1.0))
    longer = _open(tmp_path, whole, search_space=space_, overrides=["max_epochs=2"])
    asked = longer.claim("b")
    assert asked is not None
    assert asked.cpus == 4.0
    assert longer.start("b").threads == 1


def test_the_ladder_uses_no_retry_of_the_users(tmp_path: Path) -> None:
    journal = _open(
        tmp_path, search_space={"batch_size": [8]}, retry={"oom": 0, "lost": 1}
    )
    assert len(list(_attempts(journal))) == 3


def test_without_a_gpu_running_out_of_memory_is_a_matter_of_retries(
    tmp_path: Path,
) -> None:
    journal = _open(
        tmp_path, CONTEXT, search_space={"batch_size": [8]}, retry={"oom": 1}
    )
    assert len(list(_attempts(journal))) == 2


def test_the_batch_is_halved_only_where_that_is_allowed(tmp_path: Path) -> None:
    journal = _open(
        tmp_path, search_space={"batch_size": [8]}, oom={"shrink_batch": True}
    )
    overrides = []
    while journal.claim("a") is not None:
        overrides.append(journal.start("a").overrides[1:])
        journal.fail("a", _oom())
    assert overrides == [(), (), (), ("batch_size=4", "acc=2")]


def test_a_config_without_accumulation_cannot_halve_the_batch(tmp_path: Path) -> None:
    context = replace(CARD, batch=BatchKeys(batch="batch_size", batch_size=8))
    journal = _open(
        tmp_path, context, search_space={"batch_size": [8]}, oom={"shrink_batch": True}
    )
    assert len(list(_attempts(journal))) == 3


def test_what_one_trial_learnt_holds_for_all_of_its_key(tmp_path: Path) -> None:
    journal = _open(tmp_path, search_space={"batch_size": [8], "lr": [0.1, 0.2]})
    assert journal.claim("a") == QUARTER
    journal.start("a")
    journal.fail("a", _oom())
    for slot in ("b", "c"):  # the one that failed and its neighbour in lr
        asked = journal.claim(slot)
        assert asked is not None
        assert asked.gpus == 0.5


def test_larger_batches_of_an_infeasible_point_are_never_started(
    tmp_path: Path,
) -> None:
    journal = _open(tmp_path)
    first = list(_attempts(journal))
    assert len(first) == 3  # batch 8, the smallest, at 1/4, 1/2 and alone
    trials = _trials(tmp_path).values()
    assert {trial.state for trial in trials} == {State.FAILED}
    assert sum(trial.starts for trial in trials) == 3
    unstarted = [trial for trial in trials if not trial.starts]
    assert len(unstarted) == 5
    assert all("not started" in t.failures[-1].message for t in unstarted)


def test_the_search_is_told_of_an_infeasible_point(tmp_path: Path) -> None:
    """As of one that was pruned at once, which samplers rank below all others."""
    journal = _open(tmp_path, search_space={"batch_size": [8], "lr": [0.1]})
    list(_attempts(journal))
    experiment = load(tmp_path / "toy.yaml")
    past = History(space.parse(experiment, {})).update(journal._store.all())
    (told,) = past.study(experiment.objectives).trials
    assert told.state is TrialState.PRUNED
    assert told.params == {"batch_size": 8, "lr": 0.1}


def test_smaller_batches_of_an_infeasible_point_are_tried(tmp_path: Path) -> None:
    journal = _open(tmp_path, search_space={"batch_size": [32, 8]})
    for _ in range(3):
        assert journal.claim("a") is not None
        assert "batch_size=32" in journal.start("a").overrides
        journal.fail("a", _oom())
    assert journal.claim("a") == QUARTER
    assert "batch_size=8" in journal.start("a").overrides


@pytest.mark.parametrize("cut_after", [0, 1, 2, 3])
def test_the_ladder_goes_on_after_a_restart(tmp_path: Path, cut_after: int) -> None:
    """A kill while an attempt runs repeats that rung, and none that is done."""
    keys = {"search_space": {"batch_size": [8]}, "oom": {"shrink_batch": True}}
    journal = _open(tmp_path, **keys)
    shares = []
    for _ in range(cut_after):
        asked = journal.claim("a")
        assert asked is not None
        shares.append(asked.gpus)
        journal.start("a")
        journal.fail("a", _oom())
    assert journal.claim("a") is not None
    journal.start("a")
    del journal  # killed
    again = _open(tmp_path, **keys)
    shares += [asked.gpus for asked in _attempts(again)]
    assert shares == [0.25, 0.5, 1.0, 1.0]
    (trial,) = _trials(tmp_path).values()
    assert trial.state is State.FAILED


def test_neighbours_are_not_hurt(tmp_path: Path) -> None:
    journal = _open(tmp_path, search_space={"batch_size": [8], "lr": [0.1, 0.2]})
    for slot in "ab":
        assert journal.claim(slot) == QUARTER
        journal.start(slot)
    neighbour = journal.start("b").id
    journal.fail("a", _oom())
    assert _report(journal, "b", {}) is Decision.CONTINUE
    assert _trials(tmp_path)[neighbour].state is State.RUNNING
    assert _trials(tmp_path)[neighbour].demand == QUARTER


def test_auto_takes_shares_from_predicted_peaks(tmp_path: Path) -> None:
    context = replace(
        AUTO,
        peaks={"batch_size=8": GIB, "batch_size=16": 3 * GIB, "batch_size=32": 9 * GIB},
    )
    journal = _open(tmp_path, context)
    asked = [journal.claim(slot) for slot in "abcdef"]
    shares = [demand.gpus for demand in asked if demand]
    assert shares == [1.0, 1.0, share(3), share(3), share(8), share(8)]  # large first


def test_auto_has_a_whole_card_where_nothing_is_known(tmp_path: Path) -> None:
    journal = _open(tmp_path, AUTO)
    asked = journal.claim("a")
    assert asked is not None
    assert asked.gpus == 1.0


def test_a_measured_peak_replaces_the_prediction(tmp_path: Path) -> None:
    context = replace(AUTO, peaks={"batch_size=8": 9 * GIB})
    keys = {"search_space": {"batch_size": [8], "lr": [0.1, 0.2, 0.3]}}
    journal = _open(tmp_path, context, **keys)
    assert journal.claim("a") is not None
    identity = journal.start("a").id
    _report(journal, "a", {"peak_bytes": 3 * GIB})
    asked = journal.claim("b")
    assert asked is not None
    assert asked.gpus == share(3)
    assert _trials(tmp_path)[identity].peak_bytes == 3 * GIB
    asked = _open(tmp_path, context, **keys).offer()  # and after a restart
    assert asked is not None
    assert asked.gpus == share(3)


def test_cards_are_not_packed_while_others_would_be_idle(tmp_path: Path) -> None:
    context = replace(AUTO, peaks={"batch_size=8": GIB // 4}, trials=3)  # on two cards
    journal = _open(
        tmp_path, context, search_space={"batch_size": [8], "lr": [0.1, 0.2, 0.3]}
    )
    asked = journal.claim("a")
    assert asked is not None
    assert asked.gpus == 0.5


def test_max_per_gpu_bounds_what_memory_allows(tmp_path: Path) -> None:
    context = replace(AUTO, peaks={"batch_size=8": GIB // 4})
    resources = {"gpus": "auto", "max_per_gpu": 2}
    journal = _open(
        tmp_path, context, search_space={"batch_size": [8]}, resources=resources
    )
    asked = journal.claim("a")
    assert asked is not None
    assert asked.gpus == 0.5


def test_a_slot_takes_only_trials_of_its_own_demand(tmp_path: Path) -> None:
    context = replace(AUTO, peaks={"batch_size=8": GIB, "batch_size=16": 3 * GIB})
    journal = _open(tmp_path, context, search_space={"batch_size": [8, 16]})
    asked = journal.claim("a")
    assert asked is not None
    assert asked.gpus == share(3)
    journal.start("a")
    _report(journal, "a", {})
    journal.finish("a")
    assert journal.claim("a", asked) is None  # the next one is smaller
    small = journal.offer()
    assert small is not None
    assert small.gpus == share(8)
    assert journal.claim("b", small) == small


def test_packed_trials_have_no_more_loader_workers_than_cores(tmp_path: Path) -> None:
    context = replace(CARD, workers={"num_workers": 4})
    journal = _open(tmp_path, context, search_space={"batch_size": [8]})
    overrides = []
    while journal.claim("a") is not None:
        overrides.append(journal.start("a").overrides[1:])
        journal.fail("a", _oom())
    # Those of its first start: they are a part of what a trial computes.
    assert overrides == [("num_workers=1",), ("num_workers=1",), ()]


def test_the_fraction_that_is_enforced_leaves_room_for_contexts(tmp_path: Path) -> None:
    journal = _open(tmp_path, search_space={"batch_size": [8]})
    assert journal.claim("a") is not None
    assert journal.start("a").memory_fraction == pytest.approx(0.25 - 0.5 / 14.56)


def test_the_guard_keeps_only_as_many_trials_as_speed_a_card_up(
    tmp_path: Path,
) -> None:
    """A card that does ten steps a second in all, four to a single trial: best is 3.

    Two do 8, three do 10, four do 10.
    """
    space_ = {"batch_size": [8], "lr": [i / 100 for i in range(1, 60)]}
    peaks = {"batch_size=8": int(2.5 * GIB)}
    context = replace(AUTO, cards=1, slots=4, peaks=peaks)
    journal = _open(tmp_path, context, search_space=space_)
    counts = []
    for _ in range(10):
        asked = journal.offer()
        assert asked is not None
        count = round(1 / asked.gpus)
        counts.append(count)
        slots = [str(i) for i in range(count)]
        for slot in slots:
            assert journal.claim(slot, asked) == asked
            journal.start(slot)
        for slot in slots:
            rate = min(4.0, 10 / count)
            _report(journal, slot, {"rate": rate, "utilisation": 0.75})
        for slot in slots:
            journal.finish(slot)
    assert counts[0] == 4
    assert counts[-5:] == [3] * 5
    asked = _open(tmp_path, context, search_space=space_).offer()
    assert asked is not None
    assert round(1 / asked.gpus) == 3
    (line,) = packing_report.lines(_sweep(tmp_path))
    assert line == (
        "packing batch_size=8: 3 a T4, 75% busy, 10 steps/s a card with 3 (best)"
    )
    (data,) = packing_report.to_json(_sweep(tmp_path))
    assert data["best_per_card"] == 3
    assert data["is_settled"]


def test_what_a_card_taught_says_nothing_of_another_type(tmp_path: Path) -> None:
    """Speeds and memory that ran out are those of a T4; an L4 starts anew."""
    keys = {"search_space": {"batch_size": [8], "lr": [i / 100 for i in range(1, 60)]}}
    context = replace(
        AUTO,
        cards=1,
        slots=4,
        peaks={"batch_size=8": 3 * GIB},
        demand=replace(AUTO.demand, accelerator=""),
        accelerators=("T4",),
    )
    on_t4 = _open(tmp_path, context, **keys)
    for slot in "abc":
        assert on_t4.claim(slot) is not None
        on_t4.start(slot, "T4")
    for slot in "abc":
        _report(on_t4, slot, {"rate": 1.0})
    on_t4.fail("c", _oom())
    asked = on_t4.offer()
    assert asked is not None
    assert asked.gpus == 1.0
    other = replace(
        context, accelerators=("L4",), device_bytes=CARDS["L4"].device_bytes
    )
    on_l4 = _open(tmp_path, other, **keys)
    for slot in "abcde":
        asked = on_l4.claim(slot)
        assert asked is not None
        assert asked.gpus == share(5)
        on_l4.start(slot, "L4")
    for slot in "abcde":
        _report(on_l4, slot, {"rate": 2.0})
    lines = [data["accelerator"] for data in packing_report.to_json(_sweep(tmp_path))]
    assert sorted(lines) == ["L4"]
    rates = {trial.id: trial.rates for trial in _trials(tmp_path).values()}
    assert {"T4": {"3": 1.0}, "L4": {"5": 2.0}} in rates.values()
    again = _open(tmp_path, context, **keys).offer()  # back on T4s: alone
    assert again is not None
    assert again.gpus == 1.0


def test_in_a_cluster_of_two_types_the_one_that_is_worth_the_fewest_counts(
    tmp_path: Path,
) -> None:
    """A T4 does two steps a second whatever it holds, an L4 two for each trial."""
    context = replace(
        AUTO,
        peaks={"batch_size=8": 3 * GIB},
        demand=replace(AUTO.demand, accelerator=""),
        accelerators=("L4", "T4"),
    )
    experiment = make_experiment(tmp_path, search_space={"batch_size": [8]})
    assigned = Assignment(experiment, space.parse(experiment, {}), context)
    rates = {
        "L4": dict.fromkeys((1, 2, 3), (2.0,)),
        "T4": {count: (2.0 / count,) for count in (1, 2, 3)},
    }
    counts = {
        card: assigned.demand("batch_size=8", {"batch_size=8": Observed(rates=found)})
        for card, found in (("L4", {"L4": rates["L4"]}), ("both", rates))
    }
    assert counts["L4"].gpus == share(3)
    assert counts["both"].gpus == 1.0


def test_what_was_measured_of_a_card_is_kept_for_each_trial(tmp_path: Path) -> None:
    keys = {"search_space": {"batch_size": [8]}}
    journal = _open(tmp_path, **keys)
    journal.claim("a")
    journal.start("a", "T4")
    for epoch, busy in enumerate((0.5, 0.7), start=1):
        usage = {"peak_bytes": epoch * GIB, "utilisation": busy}
        _report(journal, "a", usage, epoch=epoch)
    journal = _open(tmp_path, **keys)  # and over a restart
    journal.claim("a")
    journal.start("a", "T4")
    _report(journal, "a", {"peak_bytes": GIB, "utilisation": 0.9}, epoch=3)
    _report(journal, "a", {}, epoch=4)
    sweep = _sweep(tmp_path)
    (trial,) = sweep.trials
    assert trial.peak_bytes == 2 * GIB
    assert trial.utilisation == pytest.approx(0.7)
    assert packing_report.measured(trial) == (
        "0.25 of a T4, peak 2048 MiB, the card was 70% busy"
    )
    (shown,) = status.status_json(sweep)["trials"]  # type: ignore[misc]  # JSON
    assert shown["utilisation"] == trial.utilisation
    assert list(export.trials(sweep)["card"]) == ["T4"]

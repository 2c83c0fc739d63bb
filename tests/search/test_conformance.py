"""Every search and scheduler of conf/, found by glob, survives kills of the journal."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from sweeper.experiment import space
from sweeper.experiment.loading import dump, load
from sweeper.experiment.space import Space
from sweeper.journal import store
from sweeper.journal.journal import Journal
from sweeper.journal.record import Sweep
from sweeper.protocol import Decision, Report
from sweeper.statistics import leaderboard
from sweeper.system.errors import ExperimentError
from sweeper.system.identity import derive
from sweeper.system.paths import builtin_conf
from tests.helpers import make_experiment, open_journal, start_epoch

SEARCHES = sorted(path.stem for path in (builtin_conf() / "search").glob("*.yaml"))
BEYOND = ("cmaes",)  # searches that know one objective only
SCHEDULERS = sorted(p.stem for p in (builtin_conf() / "scheduler").glob("*.yaml"))
INTERVALS = {
    "lr": "tag(log, interval(1e-5, 1e-1))",
    "depth": "int(interval(1, 8))",
    "kind": ["a", "b", "c"],
}
CHOICES = {"lr": [1e-4, 1e-3, 1e-2], "depth": [1, 2], "kind": ["a", "b"]}
EPOCHS = 4
ANY = {  # Optuna's samplers without a file of ours
    "brute force": {"_target_": "optuna.samplers.BruteForceSampler"},
    "nsga3": {"_target_": "optuna.samplers.NSGAIIISampler", "population_size": 4},
    "plain tpe": {"_target_": "optuna.samplers.TPESampler", "n_startup_trials": 3},
}


def _keys(search: object, scheduler: object, trials: int) -> dict[str, object]:
    is_list = search == "grid" or "Brute" in str(search)
    return {
        "search_space": CHOICES if is_list else INTERVALS,
        "search": search,
        "scheduler": scheduler,
        "budget": {"trials": trials},
        "baseline": {"lr": 1e-3, "depth": 2, "kind": "b"},
    }


def _value(params: Mapping[str, object], seed: int, epoch: int) -> float:
    """A curve that rises to a level of the point, with noise of (point, epoch)."""
    lr = float(str(params["lr"]))
    depth = int(str(params.get("depth", 1)))
    level = 1 - (math.log10(lr) + 3) ** 2 / 9 - 0.02 * depth
    noise = derive(seed, params["lr"], params["kind"], epoch) / 2**32
    return level * (1 - 0.5**epoch) + 0.1 * noise


def _size(params: Mapping[str, object]) -> float:
    """What a deep model with a small step costs: against the value."""
    lr = float(str(params["lr"]))
    return 2.0 ** int(str(params["depth"])) - 3 * math.log10(lr)


def run(folder: Path, keys: Mapping[str, object], *, is_cut: bool) -> Sweep:
    """A sweep by one slot; cut, the journal is opened anew at every kind of place."""
    journal = open_journal(folder, **keys)
    saved: dict[str, int] = {}  # epoch of each trial's checkpoint
    step = 0

    def cut() -> Journal:
        nonlocal step
        step += 1
        is_now = is_cut and derive(7, "cut", step) % 3 == 0
        return open_journal(folder, **keys) if is_now else journal

    while True:
        if journal.claim("a") is None:
            break
        again = cut()
        if again is not journal:  # the claim is lost with the process, the row is not
            journal = again
            assert journal.claim("a") is not None
        spec = journal.start("a")
        epoch = max(saved.get(spec.id, 0), start_epoch(spec.lineage)) + 1
        while epoch <= EPOCHS:
            value = _value(spec.params, spec.seed, epoch)
            values = (value, *[_size(spec.params) for _ in spec.more_metrics])
            decision = journal.report(
                "a", Report(epoch=epoch, values=values, busy_seconds=1.0)
            )
            again = cut()
            if again is not journal:  # killed before its checkpoint of this epoch
                journal = again
                assert journal.claim("a") is not None
                assert journal.start("a").id == spec.id
                continue
            saved[spec.id] = epoch
            if decision is Decision.STOP:
                break
            epoch += 1
        journal.finish("a")
        journal = cut()
    loaded = load(folder / "toy.yaml")
    return store.Reader(loaded, folder / "sweeps" / "toy").sweep()


def _facts(sweep: Sweep) -> list[object]:
    return [
        (t.number, t.id, dict(t.params), t.seed, t.state, t.values, t.others, t.lineage)
        for t in sweep.trials
    ]


def _check(folder: Path, keys: Mapping[str, object]) -> Sweep:
    folders = [folder / "whole", folder / "cut"]
    for each in folders:
        each.mkdir()
    whole, cut = (run(each, keys, is_cut=each is folders[1]) for each in folders)
    assert _facts(whole) == _facts(cut)
    assert len({trial.id for trial in whole.trials}) == len(whole.trials)
    return whole


def _quick(names: Iterable[str], *quick: str) -> list[ParameterSet]:
    """All names, of which those that are not quick ones are marked slow."""
    return [
        pytest.param(name, marks=[] if name in quick else [pytest.mark.slow])
        for name in names
    ]


@pytest.mark.parametrize("name", _quick(SEARCHES, "tpe"))
def test_a_search_that_is_killed_anywhere_ends_as_a_whole_one(
    tmp_path: Path, name: str
) -> None:
    sweep = _check(tmp_path, _keys(name, "none", 12))
    assert sweep.trials[0].params == {"lr": 1e-3, "depth": 2, "kind": "b"}
    assert len(sweep.trials) == 12


CONDITION = {"when": "kind == b or kind == c", "values": "int(interval(1, 8))"}
BRANCHING: Mapping[str, object] = {  # spaces whose points differ in their parameters
    "when": {"kind": ["a", "b", "c"], "lr": INTERVALS["lr"], "depth": CONDITION},
    "list": [
        {"lr": "tag(log, interval(1e-5, 1e-3))", "kind": ["a", "b"]},
        {"kind": ["b", "c"], "lr": INTERVALS["lr"], "depth": CONDITION},
    ],
}
LISTED = {"when": "kind != a", "values": [1, 2]}
BRANCHING_LISTS: Mapping[str, object] = {
    "when": {"kind": ["a", "b", "c"], "lr": [1e-4, 1e-3, 1e-2], "depth": LISTED},
    "list": [
        {"lr": [1e-4, 1e-3, 1e-2], "kind": ["a", "b"]},
        {"kind": ["b", "a"], "lr": [1e-3, 1e-1], "depth": LISTED},
    ],
}


@pytest.mark.parametrize("form", ["when", "list"])
@pytest.mark.parametrize("name", _quick(SEARCHES, "tpe", "grid"))
@pytest.mark.few(7)
def test_a_search_of_a_branching_space_ends_as_a_whole_one(
    tmp_path: Path, name: str, form: str
) -> None:
    space = (BRANCHING_LISTS if name == "grid" else BRANCHING)[form]
    keys = {**_keys(name, "none", 16), "search_space": space, "baseline": {}}
    sweep = _check(tmp_path, keys)
    assert len(sweep.trials) == {"when": 15, "list": 11}[form] if name == "grid" else 16
    deep = [trial for trial in sweep.trials if "depth" in trial.params]
    assert deep
    assert len(deep) < len(sweep.trials)
    if form == "when":
        assert all((t.params["kind"] == "a") is (t not in deep) for t in sweep.trials)


TWO = [{"metric": "acc", "mode": "max"}, {"metric": "size", "mode": "min"}]


@pytest.mark.parametrize("name", _quick(SEARCHES, "nsga2", "tpe", "cmaes"))
@pytest.mark.few(3)
def test_a_search_for_two_objectives_ends_as_a_whole_one(
    tmp_path: Path, name: str
) -> None:
    keys = {**_keys(name, "none", 16), "objective": TWO}
    if name in BEYOND:
        with pytest.raises(ExperimentError, match=r"toy.yaml:\d+: search: .*needs one"):
            open_journal(tmp_path, **keys)
        return
    sweep = _check(tmp_path, keys)
    assert len(sweep.trials) == (12 if name == "grid" else 16)
    assert all(len(others) == 1 for t in sweep.trials for others in t.others.values())
    rows = leaderboard.rank(sweep)
    points = [(-row.mean, row.others[0].mean) for row in rows]
    beaten = [
        any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points) for p in points
    ]
    assert [row.front == 1 for row in rows] == [not is_beaten for is_beaten in beaten]
    assert [row.front for row in rows] == sorted(row.front for row in rows)


@pytest.mark.parametrize("name", _quick(SCHEDULERS, "asha"))
def test_a_scheduler_that_is_killed_anywhere_ends_as_a_whole_one(
    tmp_path: Path, name: str
) -> None:
    assert _check(tmp_path, _keys("random", name, 12)).trials


@pytest.mark.slow
@pytest.mark.parametrize("search", ANY.values(), ids=ANY.keys())
def test_any_sampler_of_optuna_conforms(tmp_path: Path, search: object) -> None:
    assert len(_check(tmp_path, _keys(search, "asha", 10)).trials) == 10


@pytest.mark.parametrize("name", _quick(["tpe", "random"], "random"))
def test_seeds_and_finalists_are_the_same_after_kills(
    tmp_path: Path, name: str
) -> None:
    keys = _keys(name, "none", 12)
    seeds = {"seeds": {"values": [0, 1], "confirm": {"top": 2, "seeds": 2}}}
    sweep = _check(tmp_path, {**keys, **seeds})
    assert len(sweep.trials) == 12
    assert len({t.seed for t in sweep.trials}) == 4


# ---- known points and other sweeps


def _first(folder: Path, n: int, **keys: object) -> list[Mapping[str, object]]:
    journal = open_journal(folder, **keys)
    found = []
    for _ in range(n):
        assert journal.claim("a") is not None
        found.append(journal.start("a").params)
        journal.report("a", Report(epoch=1, values=(0.5,), busy_seconds=1.0))
        journal.finish("a")
    return found


@pytest.mark.parametrize("search", ["grid", "random", "tpe", "sobol"])
def test_known_points_run_after_the_baseline_and_before_any_other(
    tmp_path: Path, search: str
) -> None:
    points = [{"x": 3, "y": "b"}, {"x": 2, "y": "a"}, {"x": 3, "y": "b"}]
    found = _first(
        tmp_path,
        4,
        search_space={"x": [1, 2, 3], "y": ["a", "b"]},
        search=search,
        baseline={"x": 1, "y": "b"},
        enqueue=points,
    )
    assert found[:3] == [{"x": 1, "y": "b"}, *points[:2]]
    assert found[3] not in found[:3]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([{"x": 4}], r"toy.yaml:\d+: enqueue: 4 is not a value of 'x'"),
        ([{"x": 1}, {}], "no value for .x."),
        ([{"z": 1}], "no parameter 'z'"),
    ],
)
def test_a_known_point_outside_the_space_is_told(
    tmp_path: Path, points: list[dict[str, int]], message: str
) -> None:
    with pytest.raises(ExperimentError, match=message):
        space.parse(make_experiment(tmp_path, enqueue=points), {})


def _other(folder: Path, **keys: object) -> None:
    """A finished sweep `toy` in which only points near lr = 1e-3 are good."""
    sweep = run(folder, _keys("random", "none", 20) | keys, is_cut=False)
    sweep.paths.experiment.write_text(dump(sweep.experiment))


def _warm(folder: Path, **keys: object) -> Journal:
    of: dict[str, object] = {**_keys("tpe", "none", 12), "name": "next", **keys}
    loaded = make_experiment(folder, **{"warm_start": "toy", **of})
    parsed = space.parse(loaded, {})
    from tests.helpers import CONTEXT

    return Journal(loaded, parsed, folder / "sweeps" / "next", CONTEXT)


def test_another_sweeps_trials_are_history_from_the_first_suggestion_on(
    tmp_path: Path,
) -> None:
    _other(tmp_path)
    journal = _warm(tmp_path, baseline={})
    assert journal.claim("a") is not None
    first = journal.start("a").params
    (tmp_path / "alone").mkdir()
    alone = _first(tmp_path / "alone", 1, **_keys("tpe", "none", 12) | {"baseline": {}})
    assert alone != [first]
    # The other sweep is gone, and so is this process: the journal knows it all.
    (tmp_path / "sweeps" / "toy" / "journal.jsonl").unlink()
    again = _warm(tmp_path, baseline={})
    assert again.claim("a") is not None
    assert again.start("a").params == first


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"warm_start": "tyo"}, r"toy.yaml:\d+: warm_start: .*did you mean 'toy'"),
        ({"objective": {"metric": "loss", "mode": "min"}}, "has the objective acc"),
        ({"search_space": {"other": [1, 2]}, "baseline": {}}, "none of the 20 points"),
    ],
)
def test_a_sweep_that_says_nothing_here_is_told(
    tmp_path: Path, keys: dict[str, object], message: str
) -> None:
    _other(tmp_path)
    with pytest.raises(ExperimentError, match=message):
        _warm(tmp_path, **keys)


def test_a_space_of_known_points_counts_them(tmp_path: Path) -> None:
    parsed: Space = space.parse(make_experiment(tmp_path, enqueue=[{"x": 2}]), {})
    assert parsed.enqueued == ({"x": 2},)

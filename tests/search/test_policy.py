"""Every search and scheduler of conf/ is a function of the journal alone."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from omegaconf import OmegaConf
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.experiment import space
from sweeper.experiment.definition import Retry
from sweeper.experiment.space import Space
from sweeper.journal.record import Failure, State, TrialRecord
from sweeper.protocol import Decision, FailureKind
from sweeper.search import algorithms
from sweeper.search.history import History, key, known_point
from sweeper.search.next_trial import Agenda
from sweeper.search.policy import Search, retry
from sweeper.search.schedulers import NOTES, Create, Pruner
from sweeper.system.errors import ExperimentError
from sweeper.system.paths import builtin_conf
from tests.helpers import make_experiment
from tests.judged import Judged
from tests.simulate_schedulers import compare

NAMES = sorted(path.stem for path in (builtin_conf() / "search").glob("*.yaml"))
SCHEDULERS = sorted(p.stem for p in (builtin_conf() / "scheduler").glob("*.yaml"))
# A Gaussian process imports torch and is fitted anew for each suggestion.
SEARCHES = [pytest.param(n, marks=[pytest.mark.slow] * (n == "gp")) for n in NAMES]
DRAWN = [given for given in SEARCHES if given.values != ("grid",)]

MIXED = {
    "lr": "tag(log, interval(1e-5, 1e-1))",
    "depth": "interval(1, 8)",
    "kind": ["a", "b", "c"],
}
PLANE = {"x": "interval(0.0, 1.0)", "y": "interval(0.0, 1.0)"}
FINITE = {"a": [1, 2, 3, 4], "b": ["x", "y", "z"]}


def _space(folder: Path, search_space: object, **keys: object) -> Space:
    search = {} if "search" in keys else {"search": "random"}
    keys = {"search_space": search_space, **search, **keys}
    return space.parse(make_experiment(folder, **keys), {})


def _search(name: str) -> Search:
    loaded = OmegaConf.to_container(
        OmegaConf.load(builtin_conf() / "search" / f"{name}.yaml")
    )
    assert isinstance(loaded, dict)
    return Search(config={str(key): value for key, value in loaded.items()})


def _next(
    records: Sequence[TrialRecord], of: Space, search: Search
) -> TrialRecord | None:
    action = Agenda(of.experiment, of, search).next(records)
    return action.record if isinstance(action, Create) else None


def _ended(
    record: TrialRecord, value: float, state: State = State.COMPLETE
) -> TrialRecord:
    """The record as it comes back from disk."""
    is_valued = state is State.COMPLETE
    return replace(
        record,
        state=state,
        result=(value,) if is_valued else (),
        values={1: value} if is_valued else {},
        notes=json.loads(json.dumps(dict(record.notes))),
    )


def _score(params: Mapping[str, object]) -> float:
    """A smooth objective with its maximum in the middle of each interval."""
    return -sum((float(v) - 0.5) ** 2 for v in params.values() if isinstance(v, float))


def _sweep(of: Space, search: Search, n: int) -> list[TrialRecord]:
    rows: list[TrialRecord] = []
    while len(rows) < n and (found := _next(rows, of, search)) is not None:
        rows.append(_ended(found, _score(found.params)))
    return rows


# ---- conformance of every search


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("kind", ["mixed", "plane"])
def test_a_search_stays_in_the_space_and_where(
    tmp_path: Path, name: str, kind: str
) -> None:
    of = {
        "mixed": lambda: _space(tmp_path, MIXED, where="kind != 'c' or depth > 2"),
        "plane": lambda: _space(tmp_path, PLANE, where="x > 0.3"),
    }[kind]()
    rows = _sweep(of, _search(name), 14)
    assert len({key(row.params) for row in rows}) == 14
    for row in rows:
        assert known_point(row.params, space=of) == row.params


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_tries_each_point_of_a_finite_space_once(
    tmp_path: Path, name: str
) -> None:
    of = _space(tmp_path, FINITE, where="not (a == 4 and b == 'z')")
    rows = _sweep(of, _search(name), 100)
    assert of.size == len(rows) == 11
    assert len({key(row.params) for row in rows}) == 11
    assert all(of.allows(row.params) for row in rows)


REPLAY = """
import json, sys
from pathlib import Path
import tests.search.test_policy as t
of = t._space(Path(sys.argv[1]), t.MIXED)
drawn = [name for name in t.NAMES if name != "grid"]
out = {n: [r.params for r in t._sweep(of, t._search(n), 13)] for n in drawn}
print(json.dumps(out))
"""


@pytest.mark.slow
def test_another_process_suggests_the_same(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-c", REPLAY, str(tmp_path)]
    output = subprocess.run(
        command, cwd=root, check=True, capture_output=True, text=True
    ).stdout
    of = _space(tmp_path, MIXED)
    drawn = [name for name in NAMES if name != "grid"]
    here = {n: [row.params for row in _sweep(of, _search(n), 13)] for n in drawn}
    assert json.loads(output) == here


@pytest.mark.parametrize("name", DRAWN)
def test_the_last_suggestion_is_made_again_after_a_cut(
    tmp_path: Path, name: str
) -> None:
    of = _space(tmp_path, MIXED)
    rows = _sweep(of, _search(name), 12)
    for cut in (0, 1, 5, 11):
        again = _next(rows[:cut], of, _search(name))
        assert again is not None
        assert again.params == rows[cut].params
        assert json.loads(json.dumps(dict(again.notes))) == rows[cut].notes


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("state", [State.WAITING, State.RUNNING])
def test_a_search_suggests_while_trials_run(
    tmp_path: Path, name: str, state: State
) -> None:
    of = _space(tmp_path, PLANE)
    rows: list[TrialRecord] = []
    for _ in range(4):
        found = _next(rows, of, _search(name))
        assert found is not None
        rows.append(_ended(found, math.nan, state))
    assert len({key(row.params) for row in rows}) == 4


# ---- what single searches promise


def test_a_grid_goes_in_the_order_of_the_file(tmp_path: Path) -> None:
    of = _space(tmp_path, FINITE, search="grid")
    assert [row.params for row in _sweep(of, _search("grid"), 99)] == list(of.points())


def test_a_grid_fills_a_hole_first(tmp_path: Path) -> None:
    of = _space(tmp_path, FINITE, search="grid")
    rows = _sweep(of, _search("grid"), 99)
    missing = _next([*rows[:3], *rows[4:]], of, _search("grid"))
    assert missing is not None
    assert missing.params == rows[3].params


def test_a_grid_of_an_interval_names_the_line(tmp_path: Path) -> None:
    of = _space(tmp_path, PLANE)
    with pytest.raises(ExperimentError, match=r"toy.yaml:\d+: .*'x' is an interval"):
        _next([], of, _search("grid"))


@pytest.mark.parametrize("name", SEARCHES)
def test_the_baseline_is_suggested_first_and_once(tmp_path: Path, name: str) -> None:
    of = _space(tmp_path, FINITE, baseline={"a": 3, "b": "y"})
    rows = _sweep(of, _search(name), 99)
    assert rows[0].params == {"a": 3, "b": "y"}
    assert len(rows) == 12


def test_a_failed_point_is_not_suggested_again(tmp_path: Path) -> None:
    of = _space(tmp_path, {"a": [1, 2]})
    rows = _sweep(of, _search("random"), 1)
    failed = [_ended(rows[0], 0.0, State.FAILED)]
    second = _next(failed, of, _search("random"))
    assert second is not None
    assert second.params != rows[0].params


def test_a_point_that_the_file_lost_does_not_stop_the_search(tmp_path: Path) -> None:
    old = _space(tmp_path, {"a": [1, 2, 3, 9]})
    rows = _sweep(old, _search("tpe"), 99)
    new = _space(tmp_path, {"a": [1, 2, 3, 4, 5]})
    assert not History(new).update(rows).is_exhausted
    added = [
        _ended(found, 0.0) for found in [_next(rows, new, _search("tpe"))] if found
    ]
    assert added[0].params["a"] in (4, 5)
    last = _next([*rows, *added], new, _search("tpe"))
    assert last is not None
    rows = [*rows, *added, _ended(last, 0.0)]
    assert History(new).update(rows).is_exhausted


def test_where_that_allows_little_is_still_met(tmp_path: Path) -> None:
    of = _space(tmp_path, PLANE, where="x < 0.01")
    found = _next([], of, _search("tpe"))
    assert found is not None
    assert found.params["x"] < 0.01


def test_sobol_spreads_its_points(tmp_path: Path) -> None:
    rows = _sweep(_space(tmp_path, PLANE), _search("sobol"), 17)
    for name in PLANE:  # the first is drawn at random, then comes the sequence
        assert {int(row.params[name] * 16) for row in rows[1:]} == set(range(16))


def test_cmaes_closes_in_on_the_optimum(tmp_path: Path) -> None:
    rows = _sweep(_space(tmp_path, PLANE), _search("cmaes"), 60)
    scores = [row.result[0] for row in rows]
    assert np.mean(scores[-12:]) > 10 * np.mean(scores[:12])  # both are negative
    assert any("cma:optimizer:0" in row.notes for row in rows)


def test_nsga2_breeds_one_generation_after_another(tmp_path: Path) -> None:
    rows = _sweep(_space(tmp_path, PLANE), _search("nsga2"), 40)
    generations = [row.notes["NSGAIISampler:generation"] for row in rows]
    assert generations == sorted(generations)
    assert generations[-1] == 3


def test_a_sampler_sees_one_trial_a_point_with_the_mean_of_its_seeds(
    tmp_path: Path,
) -> None:
    of = _space(tmp_path, {"a": [1, 2, 3]})
    first, second, third = (TrialRecord.new({"a": a}, seed=42) for a in (1, 2, 3))
    rows = [
        _ended(first, 0.2),
        _ended(first, 0.4),
        _ended(second, 0.9),
        _ended(second, 0.0, State.RUNNING),
        _ended(third, 0.0, State.FAILED),
    ]
    study = History(of).update(rows).study(of.experiment.objectives)
    assert [t.params["a"] for t in study.trials] == [1, 2]
    assert [t.value for t in study.trials] == pytest.approx([0.3, 0.9])


def test_a_seed_of_the_file_changes_the_draws(tmp_path: Path) -> None:
    of = _space(tmp_path, PLANE)
    target = {"_target_": "optuna.samplers.RandomSampler"}
    plain = _sweep(of, Search(config=target), 3)
    seeded = _sweep(of, Search(config={**target, "seed": 7}), 3)
    assert [row.params for row in plain] != [row.params for row in seeded]
    search = Search(config={**target, "seed": 7})
    study = History(of).study(of.experiment.objectives)
    draws = []
    for seed in (1, 2, 1):
        study.sampler = search.sampler(seed)
        draws.append(study.ask(dict(of.distributions)).params)
    assert draws[0] == draws[2] != draws[1]


def test_what_one_search_needs_is_not_imported_for_the_others() -> None:
    code = (
        "import sys, sweeper.search.policy, sweeper.statistics.leaderboard\n"
        "import sweeper.reporting.status\n"
        "from sweeper.search.policy import Search\n"
        "Search(config={'_target_': 'optuna.samplers.TPESampler'}).sampler(1)\n"
        "print([m for m in ('torch', 'scipy.stats', 'cmaes') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


# ---- names and arguments in the experiment file


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_file_can_be_named_and_says_nothing(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = make_experiment(tmp_path, search=name)
    optuna.logging.enable_propagation()  # else caplog does not see it
    try:
        found = algorithms.search(loaded)
    finally:
        optuna.logging.disable_propagation()
    assert found.config == _search(name).config
    assert caplog.messages == []


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_file_can_be_named(tmp_path: Path, name: str) -> None:
    assert algorithms.scheduler(make_experiment(tmp_path, scheduler=name))


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("search", "tpee", r"toy.yaml:10: search: .*'tpee'; did you mean 'tpe'\?"),
        ("scheduler", "ahsa", r"toy.yaml:10: .*'ahsa'; did you mean 'asha'\?"),
        ("search", {"_target_": "optuna.Nothing"}, "toy.yaml:10: .*optuna.Nothing"),
        ("search", {"_target_": "builtins.dict"}, "toy.yaml:10: .*no sampler"),
        ("scheduler", {"_target_": "builtins.dict"}, "toy.yaml:10: .*no method"),
        (
            "search",
            {"_target_": "optuna.samplers.TPESampler", "n_startup": 3},
            "toy.yaml:10: .*n_startup",
        ),
        (
            "scheduler",
            {"_target_": "optuna.pruners.MedianPruner", "n_min_trials": 0},
            "toy.yaml:10: .*n_min_trials",
        ),
        (
            "scheduler",
            {
                "_target_": "optuna.pruners.SuccessiveHalvingPruner",
                "min_resource": "auto",
            },
            "toy.yaml:12: .*min_resource is 'auto'",
        ),
    ],
)
def test_what_cannot_be_made_is_an_error_with_its_line(
    tmp_path: Path, key: str, given: object, message: str
) -> None:
    loaded = make_experiment(tmp_path, **{key: given})
    read: Callable[..., object] = getattr(algorithms, key)
    with pytest.raises(ExperimentError, match=message):
        read(loaded)


def test_the_projects_own_files_come_first(tmp_path: Path) -> None:
    folder = tmp_path / "conf" / "search"
    folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    target = "_target_: optuna.samplers.RandomSampler\n"
    (folder / "tpe.yaml").write_text(target)
    loaded = make_experiment(tmp_path, search="tpe")
    assert str(algorithms.search(loaded).config["_target_"]).endswith("RandomSampler")


# ---- conformance of every scheduler

RIVALS = 12
EPOCHS = 9


def _rival(index: int) -> list[float]:
    return [0.5 + 0.02 * index + 0.01 * epoch for epoch in range(EPOCHS)]


RISING = [0.1 * epoch for epoch in range(1, EPOCHS + 1)]
CURVES = {
    "rising": RISING,
    "falling": RISING[::-1],
    "flat": [0.5] * EPOCHS,
    "nan": [math.nan] * EPOCHS,
    "late nan": [0.5, 0.6, *[math.nan] * (EPOCHS - 2)],
    "early nan": [math.nan, math.nan, *RISING[2:]],
    "infinite": [-math.inf] * EPOCHS,
    "empty": [],
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES.keys())
def test_a_scheduler_mirrors_and_repeats_its_decisions(
    tmp_path: Path, name: str, curve: list[float]
) -> None:
    decisions = []
    for mode, sign in (("max", 1), ("max", 1), ("min", -1)):
        trials = Judged.of(tmp_path, name, mode=mode)
        for index in range(RIVALS):
            trials.run([sign * value for value in _rival(index)])
        decisions.append(trials.run([sign * value for value in curve]))
    assert decisions[0] == decisions[1] == decisions[2]


@pytest.mark.parametrize("name", [n for n in SCHEDULERS if n != "asha_promote"])
def test_the_first_trial_goes_on(tmp_path: Path, name: str) -> None:
    assert set(Judged.of(tmp_path, name).run(RISING)) == {Decision.CONTINUE}


@pytest.mark.parametrize("name", sorted({*SCHEDULERS} - {"none", "pbt"}))
def test_a_trial_of_nothing_but_nan_is_stopped(tmp_path: Path, name: str) -> None:
    trials = Judged.of(tmp_path, name)
    for index in range(RIVALS):
        trials.run(_rival(index) * 4)
    decisions = trials.run([math.nan] * 30)
    assert decisions[-1] is Decision.STOP


@pytest.mark.parametrize("name", SCHEDULERS)
def test_trials_of_nan_take_no_place_of_others(tmp_path: Path, name: str) -> None:
    trials = Judged.of(tmp_path, name)
    for index in range(RIVALS):
        trials.run(_rival(index))
        trials.run([math.nan] * EPOCHS)
    assert set(trials.run([2.0] * EPOCHS)) == {Decision.CONTINUE}


@pytest.mark.parametrize("name", ["asha", "hyperband", "median", "none", "patience"])
def test_a_study_read_back_from_disk_decides_the_same(
    tmp_path: Path, name: str
) -> None:
    whole = Judged.of(tmp_path, name)
    records: list[TrialRecord] = []
    for index in (5, 2, 9, 1, 11, 3):
        curve = _rival(index)
        expected = whole.run(curve)
        experiment = make_experiment(tmp_path, scheduler=name)
        reopened = Judged(experiment, records=records)
        assert reopened.run(curve) == expected
        records = reopened.records


# ---- ASHA against an independent reference


def _reference_asha(
    rungs: dict[int, list[float]], epoch: int, value: float, *, factor: int
) -> Decision:
    """Li et al. (MLSys 2020), stopping form: the best 1/factor of a rung go on."""
    levels = {factor**power for power in range(10)}
    if epoch not in levels:
        return Decision.CONTINUE
    rung = rungs.setdefault(epoch, [])
    rung.append(value)
    better = sum(other > value for other in rung)
    return Decision.CONTINUE if better < max(1, len(rung) // factor) else Decision.STOP


@pytest.mark.parametrize("seed", range(5))
def test_asha_is_the_published_algorithm_under_any_order(
    tmp_path: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    trials = Judged.of(tmp_path, "asha")
    rungs: dict[int, list[float]] = {}
    running = [(trials.add(), rng.normal(size=30).round(1)) for _ in range(30)]
    epochs = [0] * len(running)
    alive = set(range(len(running)))
    num_stopped = 0
    while alive:
        pick = int(rng.choice(sorted(alive)))
        trial, curve = running[pick]
        epoch, value = epochs[pick] + 1, float(curve[epochs[pick]])
        got = trials.report(trial, epoch, value)
        assert got is _reference_asha(rungs, epoch, value, factor=3)
        epochs[pick] = epoch
        num_stopped += got is Decision.STOP
        if got is Decision.STOP or epoch == len(curve):
            alive.discard(pick)
    assert 15 < num_stopped < 30


@pytest.mark.slow
@pytest.mark.long
def test_asha_finds_what_rays_asha_finds_for_the_same_epochs() -> None:
    names = ("asha", "asha_promote", "hyperband", "none")  # 1,000 settings, 8 workers
    found = compare(1000, budget=2000, seeds=3, names=names)
    regret = {name: float(np.mean(values)) for name, values in found.items()}
    for name in ("asha", "asha_promote"):
        assert regret[name] <= regret["Ray Tune's ASHA"] + 0.001
        assert regret[name] < regret["none"] / 2
    assert regret["hyperband"] < regret["none"]


@pytest.mark.parametrize(
    ("rivals", "value", "decision"),
    [
        ((), 0.5, Decision.CONTINUE),  # nobody to compare with
        ((0.9, 0.8), 0.7, Decision.STOP),  # third of three, reduction factor 3
        ((0.9, 0.8), 0.95, Decision.CONTINUE),
        ((0.9, 0.8), 0.9, Decision.CONTINUE),  # as good as the best
        ((0.9, 0.8), math.nan, Decision.STOP),  # NaN never wins a rung
        ((math.nan, math.nan), 0.1, Decision.CONTINUE),
    ],
)
def test_asha_keeps_the_best_third_of_a_rung(
    tmp_path: Path, rivals: tuple[float, ...], value: float, decision: Decision
) -> None:
    trials = Judged.of(tmp_path, "asha")
    for rival in rivals:
        trials.run([rival])
    assert trials.run([value]) == [decision]


# ---- kills


@pytest.mark.parametrize("name", ["asha", "hyperband"])
@pytest.mark.parametrize("value", [0.1, 2.0])
@pytest.mark.parametrize("writes", range(5))
def test_a_decision_cut_anywhere_is_made_again_alike(
    tmp_path: Path, name: str, value: float, writes: int
) -> None:
    trials = Judged.of(tmp_path, name)
    for index in range(RIVALS):
        trials.run(_rival(index))
    number = trials.add()
    answer = trials.report(number, 9, value)  # three rungs at once: three notes
    whole = trials.records[number]
    assert next(iter(whole.notes)) == NOTES
    cut = dict(list(whole.notes.items())[:writes])  # what a torn write has left
    experiment = make_experiment(tmp_path, scheduler=name)
    records = [*trials.records[:number], replace(whole, notes=cut)]
    again = Judged(experiment, records=records)
    assert again.judge(number) is answer
    assert again.records[number].notes == whole.notes


def test_a_trial_does_not_compete_with_its_own_earlier_report(tmp_path: Path) -> None:
    trials = Judged.of(tmp_path, "asha")
    for value in (0.9, 0.8, 0.7, 0.6):
        trials.run([value])
    number = trials.add()
    # Second of five stops; second of six would continue.
    assert trials.report(number, 1, 0.85) is Decision.STOP
    for _ in range(2):
        assert trials.judge(number) is Decision.STOP


def test_a_scheduler_may_be_any_object_with_prune(tmp_path: Path) -> None:
    class Never:
        def prune(self, study: Study, trial: FrozenTrial) -> bool:
            assert trial.last_step == 1
            assert len(study.get_trials(states=(TrialState.RUNNING,))) == 1
            assert study.direction is StudyDirection.MAXIMIZE
            assert trial.user_attrs["seed"] == 0
            return False

    never: optuna.pruners.BasePruner = Never()  # type: ignore[assignment]  # duck-typed
    trials = Judged(make_experiment(tmp_path), Pruner(never))
    assert trials.run([0.5]) == [Decision.CONTINUE]


# ---- retry


@pytest.mark.parametrize(
    ("kinds", "is_retried"),
    [
        ("oom", True),
        ("oom oom", True),
        ("oom oom oom", False),
        ("lost lost lost", True),
        ("lost lost lost lost", False),
        ("oom oom lost", True),  # each kind has its own count
        ("oom lost oom lost oom", False),
        ("error", False),
        ("nan", False),
        ("timeout", False),
    ],
)
def test_a_trial_is_retried_as_often_as_its_kind_allows(
    kinds: str, is_retried: bool
) -> None:
    failures = [
        Failure(kind=FailureKind(kind), message="gone") for kind in kinds.split()
    ]
    assert retry(failures, Retry()) is is_retried

"""An edit of the epochs in a config file is what an edit of an override is."""

from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sweeper.journal.journal import Journal
from sweeper.journal.record import State
from sweeper.plan import plan
from sweeper.plan.plan import Plan, compare_epochs, make_plan
from sweeper.protocol import Report
from sweeper.system.errors import ExperimentChangedError
from sweeper.system.paths import SweepPaths, write_text
from sweeper.trial import worker
from sweeper.trial.compose import Composer
from tests.cases.harness import run_case
from tests.helpers import CONTEXT, make_experiment

FILES = {
    "train.yaml": "defaults: [trainer: short, _self_]\nwarmup: {epochs: 9}\n"
    "lr: 0.1\nrounds: {epochs: 3}\n",
    "trainer/short.yaml": "max_epochs: 2\n",
    "trainer/long.yaml": "max_epochs: 5\n",
    "trainer/linked.yaml": "max_epochs: ${rounds.epochs}\n",
}
SPACE: dict[str, object] = {"trainer": "short, long, linked"}


class _Sweep:
    """A sweep of three trainers, each trained for its epochs."""

    def __init__(self, folder: Path, **keys: object) -> None:
        self._folder = folder
        for name, text in FILES.items():
            self.edit(name, text)
        make_experiment(
            folder,
            target="project:main",
            config="conf/train.yaml",
            project=str(folder),
            **{"search_space": SPACE, **keys},
        )
        self.run()

    def edit(self, name: str, text: str) -> None:
        path = self._folder / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def plan(self) -> Plan:
        file, sweeps = self._folder / "toy.yaml", self._folder / "sweeps"
        return compare_epochs(make_plan(file, [], sweeps=sweeps))

    def run(self) -> list[str]:
        """Run what the sweep owes; return its trials, named by what is swept."""
        plan = self.plan()
        context = replace(CONTEXT, outgrown=plan.outgrown)
        journal = Journal(plan.experiment, plan.space, plan.folder, context)
        ran = []
        while journal.claim("a") is not None:
            spec = journal.start("a")
            project, paths = Path(spec.project), SweepPaths(plan.folder).trial(spec.id)
            config = Composer(Path(spec.config), project).compose(spec.overrides)
            resolved = worker.save_config(config, paths)
            epochs = int(OmegaConf.select(OmegaConf.create(resolved), self.key))
            for epoch in range(1, epochs + 1):
                journal.report("a", Report(epoch=epoch, values=(epoch / 10,)))
            journal.finish("a")
            ran.append(" ".join(map(str, spec.params.values())))
        return sorted(ran)

    key = "trainer.max_epochs"


@pytest.fixture
def sweep(tmp_path: Path) -> _Sweep:
    (tmp_path / "project.py").write_text("def main(cfg): pass\n")
    return _Sweep(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "again"),
    [
        ("trainer/short.yaml", "max_epochs: 4\n", ["short"]),
        ("trainer/long.yaml", "max_epochs: 7\n", ["long"]),
        ("train.yaml", FILES["train.yaml"].replace("3", "6"), ["linked"]),
        ("train.yaml", FILES["train.yaml"].replace("0.1", "0.2"), []),
        ("train.yaml", FILES["train.yaml"].replace("9", "12"), []),
        ("train.yaml", FILES["train.yaml"].replace("9", "1"), []),
    ],
)
@pytest.mark.few(1)
def test_trials_train_on_where_their_config_has_more_epochs(
    sweep: _Sweep, name: str, text: str, again: list[str]
) -> None:
    sweep.edit(name, text)
    if again == ["linked"]:  # all of them have the key, so all train on
        again = ["linked", "long", "short"]
    assert sweep.run() == again
    assert sweep.run() == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("trainer/short.yaml", "max_epochs: 1\n"),
        ("train.yaml", FILES["train.yaml"].replace("3", "2")),
    ],
)
def test_fewer_epochs_than_trials_have_trained_for_are_refused(
    sweep: _Sweep, name: str, text: str
) -> None:
    sweep.edit(name, text)
    with pytest.raises(ExperimentChangedError, match="--fork NAME"):
        sweep.run()
    sweep.edit(name, FILES[name])
    assert sweep.run() == []


def test_epochs_that_are_swept_are_those_of_each_trial(tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text("def main(cfg): pass\n")
    swept = {"trainer.max_epochs": [3, 4]}
    sweep = _Sweep(tmp_path, search_space=swept)
    sweep.edit("trainer/short.yaml", "max_epochs: 9\n")
    assert sweep.run() == []


def test_the_epochs_of_a_stored_config_are_found_by_their_key(tmp_path: Path) -> None:
    config = {
        "a": {"b": {"max_epochs": 3}, "c": [{"max_epochs": 4}]},
        "epochs": 5,
        "text": "max_epochs: 6\n  epochs: 7",
        "n_epochs": None,
    }
    paths = SweepPaths(tmp_path).trial("t")
    write_text(paths.config, OmegaConf.to_yaml(OmegaConf.create(config)))
    found = plan._trained(paths)
    assert (found["a.b.max_epochs"], found["epochs"]) == (3, 5)
    assert "n_epochs" not in found


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.e2e
def test_a_sweep_goes_on_with_more_epochs_and_refuses_fewer(tmp_path: Path) -> None:
    sweep = run_case("config_epochs", tmp_path)
    assert sweep.code == 0, sweep.output
    config = sweep.project / "conf" / "config.yaml"
    config.write_text(config.read_text().replace("epochs: 2", "epochs: 3"))
    longer = run_case("config_epochs", tmp_path)
    assert longer.code == 0, longer.output
    assert {trial["state"] for trial in longer.trials()} == {str(State.COMPLETE)}
    assert [longer.epochs(number) for number in (0, 1)] == [[1, 2, 3]] * 2
    config.write_text(config.read_text().replace("epochs: 3", "epochs: 1"))
    shorter = run_case("config_epochs", tmp_path)
    assert shorter.code == 6
    assert "epochs is 1 now" in shorter.output

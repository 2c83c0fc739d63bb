"""The private names of Optuna mean what sweeper takes them for."""

import optuna
import pytest
from optuna.distributions import FloatDistribution

from sweeper.compat import optuna as compat

RATE = FloatDistribution(0.0, 1.0)


def test_the_numbers_are_those_of_the_storage() -> None:
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage)
    trial = study.ask({"rate": RATE})
    frozen = storage.get_all_trials(compat.study_id(study))[0]
    assert storage.get_trial(compat.trial_id(frozen)).params == trial.params
    assert compat.backend(study) is None


def test_a_parameter_is_drawn_from_its_distribution() -> None:
    trial = optuna.create_study().ask()
    value = compat.suggest(trial, "rate", RATE)
    assert 0 <= value <= 1
    assert trial.params == {"rate": value}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sequence_moves_by_one_point() -> None:
    def second_point(skipped: int) -> float:
        sampler = optuna.samplers.QMCSampler(seed=1)
        study = optuna.create_study(sampler=sampler)
        study.add_trial(
            optuna.create_trial(
                params={"rate": 0.5}, distributions={"rate": RATE}, value=0.0
            )
        )
        for _ in range(skipped):
            compat.skip_point(sampler, study, {"rate": RATE})
        return study.ask({"rate": RATE}).params["rate"]

    assert second_point(0) != second_point(1)

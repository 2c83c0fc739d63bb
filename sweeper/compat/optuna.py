"""Private interfaces of Optuna."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import QMCSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial


def study_id(study: Study) -> int:
    """Return the number under which a storage keeps a study."""
    return study._study_id


def trial_id(trial: FrozenTrial) -> int:
    """Return the number under which a storage keeps a trial."""
    return trial._trial_id


def backend(study: Study) -> Any:
    """Return the backend of a study's journal storage; None for another storage."""
    return getattr(study._storage, "_backend", None)


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """Draw a parameter from a given distribution."""
    return trial._suggest(name, distribution)


def skip_point(
    sampler: QMCSampler, study: Study, distributions: Mapping[str, BaseDistribution]
) -> None:
    """Move a low-discrepancy sequence by one point."""
    sampler._find_sample_id(study, dict(distributions))

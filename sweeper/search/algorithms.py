"""The search and scheduler of an experiment, from files of conf/ or inline.

A project's conf/search and conf/scheduler take precedence over sweeper's.
"""

import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import optuna
from hydra.errors import HydraException
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf
from optuna.distributions import FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler

from sweeper.experiment.definition import Experiment
from sweeper.search.policy import Grid, Search
from sweeper.search.schedulers import Pruner, Scheduler
from sweeper.system.errors import ExperimentError, nearest
from sweeper.system.paths import builtin_conf


def search(experiment: Experiment) -> Search:
    """Return the search algorithm of an experiment, after making its sampler once.

    Raises:
        ExperimentError: the name is unknown, the class is not a sampler, it refuses its
            arguments, or it cannot handle the number of objectives.
    """
    quiet()
    _check_objectives(experiment)
    config = _config(experiment, "search", experiment.search)
    target = _class(experiment, "search", config)
    if not issubclass(target, BaseSampler | Grid):
        raise experiment.error(
            ("search",),
            f"search: {target.__module__}.{target.__qualname__} is no sampler; it must "
            "be one of Optuna's or a subclass of optuna.samplers.BaseSampler",
        )
    made = _instantiate(experiment, "search", config)
    if len(experiment.objectives) > 1 and not _takes_several(made):
        raise _needs_one(experiment, ("search",), target.__qualname__)
    return Search(config=config)


def scheduler(experiment: Experiment) -> Scheduler:
    """Return the scheduler of an experiment.

    Raises:
        ExperimentError: the name is unknown, the class is not a scheduler, it refuses
            its arguments, or it cannot handle the number of objectives.
    """
    quiet()
    config = _config(experiment, "scheduler", experiment.scheduler)
    named = _class(experiment, "scheduler", config)
    has_prune = inspect.isfunction(getattr(named, "prune", None))
    if not issubclass(named, Scheduler) and not has_prune:
        raise experiment.error(
            ("scheduler",),
            f"scheduler: {named.__module__}.{named.__qualname__} has no method prune; "
            "it must have prune(study, trial) -> bool, as Optuna's pruners do",
        )
    for key, value in config.items():
        if value == "auto":
            raise experiment.error(
                ("scheduler", key),
                f"scheduler: {key} is 'auto', which Optuna learns in memory and a "
                "restart forgets; give a number",
            )
    made = _instantiate(experiment, "scheduler", config)
    if len(experiment.objectives) > 1 and not isinstance(made, NopPruner):
        raise _needs_one(experiment, ("scheduler",), named.__qualname__)
    return made if isinstance(made, Scheduler) else Pruner(cast(BasePruner, made))


def _check_objectives(experiment: Experiment) -> None:
    """Refuse settings that need a single objective, if there are several."""
    if len(experiment.objectives) == 1:
        return
    budget, confirm = experiment.budget, experiment.confirm
    for location, value in (
        (("budget", "target"), budget.target),
        (("budget", "patience"), budget.patience),
        (("confirm", "top"), confirm.top or None),
    ):
        if value is not None:
            raise _needs_one(experiment, location, str(value))


def _takes_several(sampler: object) -> bool:
    """Return whether a sampler supports several objectives; CMA-ES does not."""
    if not isinstance(sampler, BaseSampler):
        return True
    study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
    try:
        study.ask({"x": FloatDistribution(0.0, 1.0)})
    except ValueError as error:
        if "multi-objective" in str(error):
            return False
        raise
    return True


def _needs_one(
    experiment: Experiment, location: tuple[str, ...], what: str
) -> ExperimentError:
    return experiment.error(
        location,
        f"{'.'.join(location)}: {what} needs one objective, and this file has "
        f"{len(experiment.objectives)}; remove it, or keep one objective",
    )


def quiet() -> None:
    """Silence Optuna's logs and its warnings about experimental samplers."""
    warnings.filterwarnings("ignore", category=ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _config(
    experiment: Experiment, kind: str, value: str | Mapping[str, object]
) -> Mapping[str, object]:
    if not isinstance(value, str):
        return value
    folders = [_conf_folder(experiment) / kind, builtin_conf() / kind]
    for folder in folders:
        path = folder / f"{value}.yaml"
        if path.is_file():
            loaded = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
            assert isinstance(loaded, dict)  # noqa: S101  # each file is a mapping
            return {str(key): value for key, value in loaded.items()}
    names = {p.stem for folder in folders for p in folder.glob("*.yaml")}
    raise experiment.error(
        (kind,),
        f"{kind}: there is no {value!r}; {nearest(value, names)}; or give a mapping "
        "with _target_",
    )


def _conf_folder(experiment: Experiment) -> Path:
    return (experiment.project / experiment.config).parent


def _class(
    experiment: Experiment, kind: str, config: Mapping[str, object]
) -> type[object]:
    name = str(config.get("_target_", ""))
    try:
        named: type[object] = get_class(name)
    except (ImportError, ValueError, AttributeError) as error:
        raise experiment.error(
            (kind,),
            f"{kind}: _target_ {name!r} cannot be imported ({error}); give the dotted "
            "path of a class",
        ) from error
    return named


def _instantiate(
    experiment: Experiment, kind: str, config: Mapping[str, object]
) -> object:
    try:
        return instantiate(dict(config))
    except HydraException as error:
        cause = error.__cause__ or error
        raise experiment.error(
            (kind,),
            f"{kind}: {config['_target_']} refuses its arguments: {cause}",
        ) from error

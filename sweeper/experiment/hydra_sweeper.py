"""Translation of a file for Hydra's own sweeper (`hparams_search`)."""

from collections.abc import Mapping

from sweeper.experiment import yaml_lines

KEYS = ("hydra", "defaults", "optimized_metric")
OWN = ("hydra/sweeper", "hydra/launcher", "hydra.sweeper", "hydra.launcher")
MODES = {"maximize": "max", "minimize": "min"}
NEXT = (
    "write its params under search_space:, n_trials under budget: {trials: ...} and "
    "direction under objective:"
)


def is_own(key: str) -> bool:
    """Return whether a key belongs to Hydra's own sweeper or launcher."""
    return key.startswith(OWN)


def problems(data: Mapping[str, object]) -> dict[str, str]:
    """Return the first key that was pasted from such a file, with the advice."""
    pasted = [key for key in KEYS if key in data]
    if not pasted:
        return {}
    lines = translated(data)
    more = f", and write:\n{lines}" if lines else f"; {NEXT}"
    message = (
        f"{pasted[0]}: is for Hydra's own sweeper, which does not run here; remove "
        f"{', '.join(pasted)}{more}"
    )
    return {pasted[0]: message}


def translated(data: Mapping[str, object]) -> str:
    """Return the lines of an experiment file that replace a pasted file.

    >>> print(translated({"hydra": {"sweeper": {"params": {"lr": "choice(1, 2)"}}}}))
    search_space:
      lr: choice(1, 2)
    """
    hydra = _mapping(data.get("hydra"))
    sweeper = _mapping(hydra.get("sweeper"))
    params = _mapping(sweeper.get("params")) or _mapping(sweeper.get("search_space"))
    lines: dict[str, object] = {}
    if params:
        lines["search_space"] = params
    metric, direction = data.get("optimized_metric"), sweeper.get("direction")
    if metric or direction in MODES:
        mode = MODES.get(str(direction), "max")
        lines["objective"] = {"metric": metric or "val/loss", "mode": mode}
    if isinstance(sweeper.get("n_trials"), int):
        lines["budget"] = {"trials": sweeper["n_trials"]}
        lines["search"] = _search(_mapping(sweeper.get("sampler")))
    return yaml_lines.to_yaml(lines).rstrip() if lines else ""


def _search(sampler: Mapping[str, object]) -> str:
    names = {"RandomSampler": "random", "CmaEsSampler": "cmaes", "GridSampler": "grid"}
    return names.get(str(sampler.get("_target_")).rpartition(".")[2], "tpe")


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}

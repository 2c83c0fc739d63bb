"""The overrides of an experiment file that set one value, and the keys it sweeps.

It knows Hydra's grammar and sweeper's own keys; it never composes a config.
"""

from collections.abc import Collection

from sweeper.definition import hydra_sweeper
from sweeper.definition.experiment import Experiment
from sweeper.definition.yaml_marks import Location
from sweeper.errors import ConfigError
from sweeper.search_space import grammar


def check_key(key: str) -> None:
    """Refuse a key that cannot be swept.

    Raises:
        ConfigError: it is no key, Hydra's own, a deletion, or the seed.
    """
    if key.lstrip("+") == "seed":
        raise ConfigError("each trial's seed is set from seeds; write seeds: [42, 43]")
    override = grammar.parse_override(f"{key}=0")
    if override.is_delete():
        raise ConfigError("a deletion has no values; write it under variants")
    if override.is_hydra_override():
        raise ConfigError(
            "Hydra's own settings are not swept; write it under overrides"
        )


def check_fixed(experiment: Experiment, text: str, location: Location) -> str:
    """The key of an override that sets one value.

    Raises:
        ExperimentError: it is none.
    """
    dotted = ".".join(map(str, location[:-1]))
    try:
        override = grammar.parse_override(text)
        if override.is_sweep_override():
            raise ConfigError(f"{text!r} is a sweep; write it under search_space")
        key: str = override.key_or_group
        if hydra_sweeper.is_own(key):
            raise ConfigError(
                f"{text!r}: Hydra's own sweeper and launcher do not run here; remove "
                f"it; {hydra_sweeper.NEXT}"
            )
        if key == "seed":
            raise ConfigError(f"{text!r}: each trial's seed is set from seeds: [42]")
    except ConfigError as error:
        raise experiment.error(location, f"{dotted}: {error}") from error
    return key


def check_overrides(experiment: Experiment, swept: Collection[str]) -> None:
    """Refuse an override of all trials that the search space would undo.

    Raises:
        ExperimentError: it sets a key of `swept`, or is no override.
    """
    for index, text in enumerate(experiment.overrides):
        location: Location = ("overrides", index)
        key = check_fixed(experiment, text, location)
        if key in swept:
            raise experiment.error(
                location,
                f"overrides: {text!r} would have no effect, since search_space sweeps "
                f"{key!r}; remove one of them",
            )

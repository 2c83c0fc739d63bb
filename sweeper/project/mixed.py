"""Words that a search space lists among numbers, where the config has a number."""

from collections.abc import Iterator

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeper.experiment import grammar
from sweeper.experiment.experiment import Experiment
from sweeper.experiment.parameter import Parameter
from sweeper.experiment.space import VARIANT, Space
from sweeper.experiment.yaml_lines import Location
from sweeper.project.check import representatives
from sweeper.project.compose import Composer

EITHER = {"precision"}  # keys of Lightning that take numbers and words alike
ANY_NUMBER = {"auto"}  # words that Lightning and others take for a number


def check(composer: Composer, experiment: Experiment, space: Space) -> None:
    """Refuse a list of numbers and words for a key that holds a number.

    Such a word is most often a typing error, 1e-3x for 1e-3, which only the trial that
    gets it would find out.

    Raises:
        ExperimentError: at the line of the first word.
    """
    mixed = [found for parameter in space.parameters for found in _mixed(parameter)]
    shape = {p.name for p in space.parameters if p.is_group or p.name == VARIANT}
    for point in representatives(space) if mixed else ():
        chosen = {name: point[name] for name in point if name in shape}
        config = composer.compose([*experiment.overrides, *space.overrides(chosen)])
        for key, place, word in mixed:
            try:
                number = OmegaConf.select(config, key, throw_on_missing=False)
            except OmegaConfBaseException:  # of an interpolation that is known later
                continue
            if _is_number(number):
                raise experiment.error(
                    place,
                    f"search_space: {key}: {word!r} is listed among numbers, and the "
                    f"config has the number {number} there; write a number, or set "
                    "the word in variants if it is meant",
                )


def _mixed(parameter: Parameter) -> Iterator[tuple[str, Location, object]]:
    """Each word among the numbers of a parameter's keys, with its place."""
    if parameter.is_group or parameter.name == VARIANT:
        return
    for key, values in _columns(parameter).items():
        if key.rpartition(".")[2] in EITHER or not any(map(_is_number, values)):
            continue
        if None in values:  # null, a list or a mapping: the types are mixed on purpose
            continue
        for index, value in enumerate(values):
            if _is_word(value):
                yield key, (*parameter.place, index), value


def _columns(parameter: Parameter) -> dict[str, list[object]]:
    """The values of each key that a parameter sets; None for a list or mapping."""
    if not parameter.recipes:
        key = parameter.name.lstrip("+")
        texts = parameter.texts.items()
        return {key: [None if v == t and t[:1] in "[{" else v for v, t in texts]}
    columns: dict[str, list[object]] = {}
    for recipe in parameter.recipes.values():
        for override in map(grammar.parse_override, recipe):
            value = grammar.plain(override.value())
            columns.setdefault(override.key_or_group, []).append(value)
    return columns


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_word(value: object) -> bool:
    """Return whether a value is not a number; an interpolation may become one."""
    if isinstance(value, str):
        return "${" not in value and value not in ANY_NUMBER
    return isinstance(value, bool)

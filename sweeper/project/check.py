"""Whether the keys and options that an experiment names exist in the configs.

It composes to find out, once per choice of groups, and blames one line.
"""

import copy
from collections.abc import Iterator, Sequence

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeper.errors import ConfigError
from sweeper.experiment import grammar, hydra_sweeper
from sweeper.experiment.experiment import Experiment
from sweeper.experiment.parameter import Parameter
from sweeper.experiment.space import Space
from sweeper.project.blame import Blame, Composes, entries_of, no_option
from sweeper.trial import Params

MAX_COMPOSED = 24  # choices of groups; beyond, each option once
MAX_TRIED = 100  # values of one parameter


def _group(key: str) -> str:
    return key.lstrip("+").partition("@")[0]


def check(composer: Composes, experiment: Experiment, space: Space) -> None:
    """Refuse keys and options that the config does not have.

    Raises:
        ExperimentError: at the line of the first one, with the nearest known key.
        ConfigError: the config does not even compose alone.
    """
    _check_options(composer, experiment, space)
    points = representatives(space)
    seen: set[str] = set()
    for point in points:
        entries = entries_of(experiment, space, point)
        try:
            config = composer.compose([entry.text for entry in entries])
        except ConfigError as error:
            blame = Blame(composer, experiment, space, points)
            raise blame.error(entries, point, error) from error
        if not seen.issuperset(point):
            new = [
                p for p in space.parameters if p.name in point and p.name not in seen
            ]
            _check_values(config, experiment, new)
            seen.update(point)
    _check_sweeper(composer, experiment, space.overrides(points[0]))


def _check_sweeper(
    composer: Composes, experiment: Experiment, point: Sequence[str]
) -> None:
    """Refuse an override that brings parameters for Hydra's own sweeper.

    Those of the config itself are ignored, as in any run of one job.
    """
    words = experiment.overrides
    params = _sweeper_params(composer, [*words, *point]) if words else None
    if not params:
        return
    for index, word in enumerate(words):
        others = [other for other in words if other != word]
        without = _sweeper_params(composer, [*others, *point])
        if without is not None and params != without:
            raise experiment.error(
                ("overrides", index),
                f"overrides: {word!r}: is for Hydra's own sweeper, which does not run "
                f"here: its params {', '.join(params)} would have no effect; remove "
                f"it; {hydra_sweeper.NEXT}",
            )


def _sweeper_params(composer: Composes, words: Sequence[str]) -> dict[str, str] | None:
    """Return `hydra.sweeper.params`, or None if the words do not compose."""
    try:
        hydra = composer.compose_with_hydra(words).hydra
    except ConfigError:  # without a word that others need
        return None
    return dict(hydra.sweeper.get("params") or {})


def _check_options(composer: Composes, experiment: Experiment, space: Space) -> None:
    """Every option of a swept group exists, even one that `where` never lets in."""
    for parameter in space.parameters:
        if not parameter.is_group:
            continue
        group = _group(parameter.name)
        for index, choice in enumerate(parameter.choices):
            is_plain = parameter.texts[choice] != choice or str(choice)[:1] not in "[{"
            if is_plain and not composer.has_option(group, str(choice)):
                raise experiment.error(
                    (*parameter.place, index),
                    f"search_space: {no_option(composer, group, choice)}",
                )


def representatives(space: Space) -> list[Params]:
    """A point for each choice of groups and variant, as far as `where` allows it."""
    names = [p.name for p in space.parameters if p.shapes_config]
    found: dict[tuple[object, ...], Params] = {}
    if space.where is not None and space.size is not None:
        points: Iterator[Params] = space.points()
    else:
        points = _crossed(space, names)
    for point in points:
        choice = [point.get(name) for name in names]
        found.setdefault((frozenset(point), *choice), point)
    if len(found) <= MAX_COMPOSED:
        return list(found.values())
    seen: set[tuple[int, object]] = set()
    kept = []
    for values, point in found.items():
        if not seen.issuperset(enumerate(values)):
            seen.update(enumerate(values))
            kept.append(point)
    return kept


def _crossed(space: Space, names: Sequence[str]) -> Iterator[Params]:
    """Every choice of `names` and of what conditions read, with the first of others."""
    crossed = set(names).union(*(p.when.names for p in space.parameters if p.when))
    is_decided = space.where is not None and space.where.names <= set(names)
    for point in space.walk(
        lambda p: p.choices or (p.first,) if p.name in crossed else (p.first,)
    ):
        if not is_decided or space.allows(point):
            yield point


def _check_values(
    config: DictConfig, experiment: Experiment, parameters: Sequence[Parameter]
) -> None:
    """Every value fits its key: the type of a structured config, a list or mapping."""
    scratch = copy.deepcopy(config)
    for parameter in parameters:
        if parameter.shapes_config:
            continue
        for index, choice in enumerate(parameter.choices[:MAX_TRIED]):
            override = grammar.parse_override(parameter.override(choice))
            key, value = override.key_or_group, override.value()
            is_add = override.is_add() or override.is_force_add()
            is_container = isinstance(value, list | dict)  # merged into what is there
            target = copy.deepcopy(config) if is_container else scratch
            try:
                OmegaConf.update(target, key, value, merge=True, force_add=is_add)
            except OmegaConfBaseException as error:
                message = str(error).splitlines()[0]
                raise experiment.error(
                    (*parameter.place, index),
                    f"search_space: {key}: {choice!r}: {message}",
                ) from error

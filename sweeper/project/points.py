"""Points of a search space as configs: one composition per choice of groups.

All other values are set in plain containers, which takes 0.25 ms a point.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from sweeper.experiment.definition import Experiment
from sweeper.experiment.parameter import VARIANT
from sweeper.experiment.space import Space
from sweeper.protocol import Params, Value
from sweeper.system import grammar
from sweeper.trial.compose import Composer
from sweeper.trial.config_keys import updated

MAX_COMPOSED = 24  # choices of groups; beyond, each option once


def composer(experiment: Experiment) -> Composer:
    """Return the composer of an experiment's project.

    Raises:
        ConfigError: there is no such config.
    """
    return Composer(
        experiment.project / experiment.config,
        experiment.project,
        target=experiment.target,
        overrides=experiment.overrides,
    )


def configs(
    composer: Composer, experiment: Experiment, space: Space, points: Iterable[Params]
) -> Iterator[tuple[Params, dict[str, object]]]:
    """Yield each point with its config in plain containers, interpolations unresolved.

    Configs share what they have in common, so they must not be changed.

    Raises:
        ConfigError: Hydra cannot compose a choice of groups.
    """
    names = {p.name for p in space.parameters if p.shapes_config}
    variants = {
        name: {grammar.parse_override(word).key_or_group for word in recipe}
        for name, recipe in experiment.variants.items()
    }
    containers = _containers(space)
    bases: dict[tuple[object, ...], dict[str, object]] = {}
    for params in points:
        choice = {name: params[name] for name in params if name in names}
        key = tuple(choice.items())
        if key not in bases:
            words = [*experiment.overrides, *space.overrides(choice)]
            bases[key] = composer.plain(words)
        config = bases[key]
        fixed = variants.get(str(choice.get(VARIANT)), ())
        for name, value in params.items():
            dotted = name.lstrip("+")
            if name not in names and dotted not in fixed:
                new = containers.get((name, value), value)
                config = updated(config, dotted, new)
        yield params, config


def _containers(space: Space) -> Mapping[tuple[str, Value], object]:
    """Return the lists and mappings among the values, by parameter and text."""
    return {
        (parameter.name, choice): grammar.plain(
            grammar.parse_override(f"x={text}").value()
        )
        for parameter in space.parameters
        for choice, text in parameter.texts.items()
        if choice == text and text[:1] in ("[", "{")  # a string is in quotes
    }


def representatives(space: Space) -> list[Params]:
    """Return a point for each choice of groups and variant that `where` allows.

    Of more than `MAX_COMPOSED` choices, each option occurs at least once.
    """
    names = [p.name for p in space.parameters if p.shapes_config]
    by_choice: dict[tuple[object, ...], Params] = {}
    if space.where is not None and space.size is not None:
        points: Iterator[Params] = space.points()
    else:
        points = _crossed(space, names)
    for point in points:
        choice = [point.get(name) for name in names]
        by_choice.setdefault((frozenset(point), *choice), point)
    if len(by_choice) <= MAX_COMPOSED:
        return list(by_choice.values())
    seen: set[tuple[int, object]] = set()
    chosen = []
    for values, point in by_choice.items():
        if not seen.issuperset(enumerate(values)):
            seen.update(enumerate(values))
            chosen.append(point)
    return chosen


def _crossed(space: Space, names: Sequence[str]) -> Iterator[Params]:
    """Yield every choice of `names` and of conditions, with the first of all others."""
    crossed = set(names).union(*(p.when.names for p in space.parameters if p.when))
    is_decided = space.where is not None and space.where.names <= set(names)
    for point in space.walk(
        lambda p: p.choices or (p.first,) if p.name in crossed else (p.first,)
    ):
        if not is_decided or space.allows(point):
            yield point

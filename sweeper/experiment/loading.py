"""Reading of an experiment file with command-line assignments, and writing."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError

from sweeper.experiment import yaml_lines
from sweeper.experiment.definition import (
    COMMAND_LINE,
    HYDRA_ADVICE,
    Experiment,
    error_at,
)
from sweeper.experiment.yaml_lines import Location
from sweeper.system.errors import ExperimentError, nearest
from sweeper.system.paths import project_root

COMMAND = Path("command line")
SHOWN = 60  # characters of a wrong value in a message

# Keys that show that a file is for Hydra's own sweeper.
HYDRA_KEYS = ("hydra", "defaults", "optimized_metric")
_HYDRA_MODES = {"maximize": "max", "minimize": "min"}
_SAMPLERS = {"RandomSampler": "random", "CmaEsSampler": "cmaes", "GridSampler": "grid"}
_STORAGE = (
    "unknown key 'storage'; a sweep's journal is a file in its folder; remove the "
    "key, and copy the sweep to a database with "
    "`sweeper export --format optuna --output URL`"
)
# Mappings whose keys contain dots: search_space.model.learning_rate.
_FREE = {"search_space", "variants", "baseline", "env"}
# Keys with text values, which need no YAML quotes on the command line.
_TEXT = {
    *("name", "notes", "target", "config", "where", "project"),
    *("objective.metric", "resources.accelerator", "wandb.project", "wandb.entity"),
}


def load(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment file.

    Args:
        path: the experiment file.
        overrides: assignments `key=value` of the command line. A key of the experiment
            file changes the experiment; any other is a Hydra override of all trials.

    Raises:
        ExperimentError: at the line of the first problem; the message lists all.
    """
    document = yaml_lines.read(path)
    if not isinstance(document.data, dict):
        kind = "empty" if document.data is None else "not a mapping"
        raise ExperimentError(
            path,
            0,
            f"the file is {kind}; it needs at least search_space and objective",
        )
    data: dict[str, object] = document.data
    lines = dict(document.lines)
    _assign_all(overrides, data, lines)
    if pasted := [key for key in HYDRA_KEYS if key in data]:
        advice = translated(data)
        raise error_at(
            path,
            lines,
            (pasted[0],),
            f"{pasted[0]}: is for Hydra's own sweeper, which does not run here; remove "
            + ", ".join(pasted)
            + (f", and write:\n{advice}" if advice else f"; {HYDRA_ADVICE}"),
        )
    _split_seeds(data, lines)
    data = {key: _frozen(value) for key, value in data.items()}
    data.setdefault("name", path.stem)
    root, project = project_root(path), data.get("project", "")
    data["project"] = root / project if isinstance(project, str) else project
    problems: dict[Location, str] = {
        (key,): f"unknown key {key!r}; {nearest(key, keys(Experiment))}"
        for key in ("path", "lines")
        if key in data
    }
    try:
        experiment = Experiment.model_validate({**data, "path": path, "lines": lines})
    except ValidationError as error:
        problems |= _problems(error, lines)
        raise _all(path, lines, problems) from error
    if experiment.budget.cost is not None and not experiment.price:
        problems["budget", "cost"] = (
            f"budget.cost: {experiment.budget.cost:g} needs the price of a card for an "
            "hour; add it, such as `price: {T4: 0.35}`"
        )
    if problems:
        raise _all(path, lines, problems)
    return experiment


def _split_seeds(data: dict[str, object], lines: dict[Location, int]) -> None:
    """Replace `seeds: {values: ..., confirm: ...}` by `seeds` and `confirm`."""
    section = data.get("seeds")
    names = {"values": "seeds", "confirm": "confirm"}
    if not isinstance(section, dict) or not section.keys() <= names.keys():
        return
    del data["seeds"]
    data |= {names[key]: value for key, value in section.items()}
    for location in [loc for loc in lines if loc[:1] == ("seeds",) and loc[1:]]:
        lines[(names[str(location[1])], *location[2:])] = lines[location]


def _frozen(value: object) -> object:
    """Convert the lists in a value to tuples."""
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _all(
    path: Path, lines: Mapping[Location, int], problems: Mapping[Location, str]
) -> ExperimentError:
    """Return one error that lists every problem, sorted by line.

    Missing keys come last, since an unknown key may be their misspelling.
    """
    errors = [error_at(path, lines, loc, message) for loc, message in problems.items()]
    errors.sort(key=lambda e: (e.line or math.inf, ": missing; " in e.message))
    first, *rest = errors
    message = "\n".join([first.message, *map(str, rest)])
    return ExperimentError(first.path, first.line, message)


def dump(experiment: Experiment) -> str:
    """Return YAML text that `load` reads back as an equal experiment.

    The project is written only if it is not the root around the file, relative to it.
    """
    data = experiment.model_dump(by_alias=True)
    if len(experiment.objectives) == 1:
        data["objective"] = data["objective"][0]
    root = project_root(experiment.path)
    if experiment.project == root:
        del data["project"]
    else:
        data["project"] = os.path.relpath(experiment.project, root)
    return yaml_lines.to_yaml(data)


# ---- the command line


def _assign_all(
    words: Sequence[str], data: dict[str, object], lines: dict[Location, int]
) -> None:
    """Apply the assignments `key=value` to a file's data; the last one wins.

    Raises:
        ExperimentError: a word is not an assignment.
    """
    for word in words:
        key, equals, text = word.partition("=")
        if key.split(".")[0] in keys(Experiment):
            if not equals:
                raise _refused(f"{word!r} has no value; write {key}=...")
            is_free = key.split(".")[0] in _FREE
            location: Location = tuple(key.split(".", 1) if is_free else key.split("."))
            _assign(word, location, _value(word, key, text), data, lines)
        elif equals or word.startswith("~"):
            overrides = data.setdefault("overrides", [])
            if isinstance(overrides, list):  # else validation refuses the file
                lines[("overrides", len(overrides))] = COMMAND_LINE
                overrides.append(word)
        else:
            raise _refused(
                f"{word!r} is not key=value; write budget.trials=4, for example"
            )


def _refused(message: str) -> ExperimentError:
    return ExperimentError(COMMAND, 0, message)


def _assign(
    word: str,
    location: Location,
    value: object,
    data: dict[str, object],
    lines: dict[Location, int],
) -> None:
    for depth, key in enumerate(location[:-1], start=1):
        lines.setdefault(location[:depth], COMMAND_LINE)
        child = data.setdefault(str(key), {})
        if not isinstance(child, dict):
            dotted = ".".join(map(str, location[:depth]))
            raise _refused(
                f"{word!r}: {dotted} is {child!r}, which has no keys; "
                f"set {dotted}=... as a whole"
            )
        data = child
    data[str(location[-1])] = value
    for inner in [inner for inner in lines if inner[: len(location)] == location]:
        del lines[inner]
    lines[location] = COMMAND_LINE


def _value(word: str, key: str, text: str) -> object:
    if key in _TEXT:
        return text
    try:
        return yaml_lines.parse(text, COMMAND).data
    except ExperimentError as error:
        if key.startswith("search_space."):  # Hydra's sweep grammar needs no YAML
            return text
        reason = error.message.removeprefix("not valid YAML: ")
        raise _refused(f"{word!r}: the value is not valid YAML: {reason}") from error


# ---- pydantic's errors


def _problems(
    error: ValidationError, lines: Mapping[Location, int]
) -> dict[Location, str]:
    """Return messages by location, each with the wrong value and an example."""
    messages: dict[Location, str] = {}
    rules: dict[Location, dict[str, None]] = {}  # several for a union of types
    for detail in error.errors(include_url=False):
        location = _longest_prefix(detail["loc"], lines)
        if detail["type"] == "missing":
            location = (*_longest_prefix(detail["loc"][:-1], lines), detail["loc"][-1])
        *parents, key = map(str, location)
        dotted, (model, example) = ".".join([*parents, key]), _described(location)
        if detail["type"] == "extra_forbidden":
            start = f"{'.'.join(parents)}: " if parents else ""
            advice = nearest(key, keys(model))
            messages[location] = f"{start}unknown key {key!r}; {advice}"
        elif detail["type"] == "missing":
            messages[location] = f"{dotted}: missing{example}"
        else:
            rule = detail["msg"].removeprefix("Value error, ")
            rules.setdefault(location, {})[rule] = None
            shown = f"{dotted}: {_shown(detail['input'])}"
            messages[location] = f"{shown}: {' or '.join(rules[location])}{example}"
    if ("storage",) in messages:
        messages["storage",] = _STORAGE
    return messages


def _longest_prefix(location: Location, lines: Mapping[Location, int]) -> Location:
    """Return the longest prefix of a location that is in the file.

    pydantic adds the names of a union's types, and the index 0 for a single value
    where a list is allowed.
    """
    prefix: Location = ()
    for part in location:
        if (*prefix, part) in lines:
            prefix = (*prefix, part)
        elif part != 0:
            break
    return prefix or location[:1]


def _shown(value: object) -> str:
    """Return a value roughly as YAML writes it, truncated to `SHOWN` characters."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def keys(model: type[BaseModel] | None) -> list[str]:
    """Return the keys of a section of the file; [] for None."""
    fields = model.model_fields if model else {}
    return [f.alias or name for name, f in fields.items() if not f.exclude]


def _described(location: Location) -> tuple[type[BaseModel] | None, str]:
    """Return the model that contains a location's last key, and an example value."""
    model: type[BaseModel] | None = Experiment
    holder, example = model, ""
    for key in location:
        fields = model.model_fields.items() if model else ()
        field = next((f for name, f in fields if (f.alias or name) == key), None)
        holder = model
        if field is not None:
            if field.examples:
                example = f"; for example {key}: {field.examples[0]}"
            model = _model_of(field.annotation)
    return holder, example


def _model_of(annotation: object) -> type[BaseModel] | None:
    """Return the first model in an annotation, such as that of a list's items."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_of, get_args(annotation))), None)


# ---- files for Hydra's own sweeper


def translated(data: Mapping[str, object]) -> str:
    """Translate a config of Hydra's own sweeper (`hparams_search`) to our keys.

    >>> print(translated({"hydra": {"sweeper": {"params": {"lr": "choice(1, 2)"}}}}))
    search_space:
      lr: choice(1, 2)
    """
    sweeper = _mapping(_mapping(data.get("hydra")).get("sweeper"))
    params = _mapping(sweeper.get("params")) or _mapping(sweeper.get("search_space"))
    lines: dict[str, object] = {"search_space": params} if params else {}
    metric, direction = data.get("optimized_metric"), str(sweeper.get("direction"))
    if metric or direction in _HYDRA_MODES:
        mode = _HYDRA_MODES.get(direction, "max")
        lines["objective"] = {"metric": metric or "val/loss", "mode": mode}
    if isinstance(sweeper.get("n_trials"), int):
        lines["budget"] = {"trials": sweeper["n_trials"]}
        name = str(_mapping(sweeper.get("sampler")).get("_target_"))
        lines["search"] = _SAMPLERS.get(name.rpartition(".")[2], "tpe")
    return yaml_lines.to_yaml(lines).rstrip() if lines else ""


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}

"""Assignments `key=value` of the command line, set in an experiment file's data.

A key of the experiment file is set there; any other is an override for Hydra.
"""

from collections.abc import Sequence
from pathlib import Path

from sweeper.experiment import yaml_lines
from sweeper.experiment.yaml_lines import Location
from sweeper.system.errors import ExperimentError

COMMAND_LINE = -1  # the "line" of a value that the command line sets
PLACE = Path("command line")

# Mappings whose keys are dotted themselves: search_space.model.learning_rate.
_FREE = {"search_space", "variants", "baseline", "env"}
# Keys of text, which needs no quotes within the shell's quotes.
_TEXT = {
    *("name", "notes", "target", "config", "where", "project"),
    *("objective.metric", "resources.accelerator", "wandb.project", "wandb.entity"),
}


def apply(
    assignments: Sequence[str],
    *,
    data: dict[str, object],
    lines: dict[Location, int],
    keys: Sequence[str],
) -> None:
    """Apply assignments to `data` and `lines`; the last one wins.

    Args:
        assignments: words of the command line.
        data: the experiment file's content before validation.
        lines: locations that are set here get `COMMAND_LINE`.
        keys: those of an experiment file.

    Raises:
        ExperimentError: a word is not an assignment.
    """
    for word in assignments:
        key, equals, text = word.partition("=")
        if key.split(".")[0] in keys:
            if not equals:
                raise _error(f"{word!r} has no value; write {key}=...")
            _assign(word, key, text, data=data, lines=lines)
        elif equals or word.startswith("~"):
            overrides = data.setdefault("overrides", [])
            if isinstance(overrides, list):  # else the file itself is wrong
                lines[("overrides", len(overrides))] = COMMAND_LINE
                overrides.append(word)
        else:
            raise _error(
                f"{word!r} is not key=value; write budget.trials=4, for example"
            )


def _error(message: str) -> ExperimentError:
    return ExperimentError(PLACE, 0, message)


def _assign(
    word: str,
    key: str,
    text: str,
    *,
    data: dict[str, object],
    lines: dict[Location, int],
) -> None:
    head, *rest = key.split(".", 1) if key.split(".")[0] in _FREE else key.split(".")
    location: Location = (head, *rest)
    parent = data
    for depth in range(1, len(location)):
        lines.setdefault(location[:depth], COMMAND_LINE)
        child = parent.setdefault(str(location[depth - 1]), {})
        if not isinstance(child, dict):
            dotted = ".".join(map(str, location[:depth]))
            raise _error(
                f"{word!r}: {dotted} is {child!r}, which has no keys; "
                f"set {dotted}=... as a whole"
            )
        parent = child
    parent[str(location[-1])] = _value(word, key, text)
    for inner in [inner for inner in lines if inner[: len(location)] == location]:
        del lines[inner]
    lines[location] = COMMAND_LINE


def _value(word: str, key: str, text: str) -> object:
    if key in _TEXT:
        return text
    try:
        return yaml_lines.parse(text, PLACE).data
    except ExperimentError as error:
        if key.startswith("search_space."):  # Hydra's sweep grammar needs no YAML
            return text
        message = error.message.removeprefix("not valid YAML: ")
        raise _error(f"{word!r}: the value is not valid YAML: {message}") from error

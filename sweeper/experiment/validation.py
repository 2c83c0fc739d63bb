"""Messages for what pydantic refuses in an experiment file, with their locations."""

from collections.abc import Mapping
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sweeper.experiment.yaml_lines import Location
from sweeper.system.errors import nearest

SHOWN = 60  # characters of a wrong value

# pydantic's messages that name a type of Python, by its documented error types.
_OF_YAML = {
    "tuple_type": "Input should be a list",
    "dict_type": "Input should be a mapping",
    "mapping_type": "Input should be a mapping",
    "model_type": "Input should be a mapping",
}


def problems(
    error: ValidationError,
    model: type[BaseModel],
    lines: Mapping[Location, int],
) -> dict[Location, str]:
    """Return one message for each location of the file, in the model's order."""
    details: dict[Location, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        location = _longest_prefix(detail["loc"], lines)
        if detail["type"] == "missing":
            location = (*_longest_prefix(detail["loc"][:-1], lines), detail["loc"][-1])
        details.setdefault(location, []).append(detail)
    return {loc: _message(loc, details[loc], model) for loc in details}


def _longest_prefix(location: Location, lines: Mapping[Location, int]) -> Location:
    """Return the longest part of a location that the file has.

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


def _message(
    location: Location, details: list[ErrorDetails], model: type[BaseModel]
) -> str:
    dotted = ".".join(map(str, location))
    first = details[0]
    fields = _fields(location, model)
    if first["type"] == "extra_forbidden":
        if dotted == "storage":
            return (
                "unknown key 'storage'; a sweep's journal is a file in its folder; "
                "remove the key, and copy the sweep to a database with "
                "`sweeper export --format optuna --output URL`"
            )
        *parents, key = location
        parent = _model_of(list(fields.values())[-1].annotation) if fields else model
        prefix = f"{'.'.join(map(str, parents))}: " if parents else ""
        return f"{prefix}unknown key {key!r}; {nearest(str(key), keys(parent))}"
    if first["type"] == "missing":
        message = f"{dotted}: missing"
    else:
        rules = [_OF_YAML.get(d["type"], d["msg"]) for d in details]
        reasons = " or ".join(dict.fromkeys(rules)).replace("Value error, ", "")
        message = f"{dotted}: {_shown(first['input'])}: {reasons}"
    examples = [f"{key}: {f.examples[0]}" for key, f in fields.items() if f.examples]
    return "; for example ".join([message, *examples[-1:]])


def _shown(value: object) -> str:
    """Return a value as YAML has it, cut if it is long."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def keys(model: type[BaseModel] | None) -> list[str]:
    """Return the names of the fields that a file may have."""
    fields = model.model_fields if model else {}
    return [f.alias or name for name, f in fields.items() if not f.exclude]


def _fields(
    location: Location, model: type[BaseModel] | None
) -> dict[str | int, FieldInfo]:
    """Return the fields that a location passes, the outermost first."""
    fields: dict[str | int, FieldInfo] = {}
    for key in location:
        named = model.model_fields.items() if model else ()
        field = next((f for name, f in named if (f.alias or name) == key), None)
        if field is not None:
            fields[key] = field
            model = _model_of(field.annotation)
    return fields


def _model_of(annotation: object) -> type[BaseModel] | None:
    """Return the first model in an annotation, such as that of a list's items."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_of, get_args(annotation))), None)

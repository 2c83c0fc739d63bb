"""What pydantic found wrong, in sweeper's words and at the lines of the file.

It knows no field by name: rules, examples and known keys come from the model.
"""

from collections.abc import Mapping
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sweeper.definition.yaml_marks import Location
from sweeper.errors import nearest

SHOWN = 60  # characters of a wrong value


def problems(
    error: ValidationError,
    model: type[BaseModel],
    lines: Mapping[Location, int],
) -> dict[Location, str]:
    """One message a place of the file, in the order in which the model has them.

    The members of a union that a value fails one by one make one message.
    """
    found: dict[Location, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        place = detail["loc"]
        if detail["type"] != "missing":
            place = _known(place, lines)
        elif len(place) > 1:
            place = (*_known(place[:-1], lines), place[-1])
        found.setdefault(place, []).append(detail)
    return {place: _message(place, found[place], model) for place in found}


def _known(place: Location, lines: Mapping[Location, int]) -> Location:
    """The longest part of `place` that the file has.

    pydantic appends type names; a list of one may stand without its brackets.
    """
    found: Location = ()
    for part in place:
        if (*found, part) in lines:
            found = (*found, part)
        elif part != 0:
            break
    return found or place[:1]


def _message(
    place: Location, details: list[ErrorDetails], model: type[BaseModel]
) -> str:
    dotted = ".".join(map(str, place))
    first = details[0]
    if first["type"] == "missing":
        return f"{dotted}: missing; {_advice(place, model)}"
    if first["type"] == "extra_forbidden":
        parent = _model_at(place[:-1], model)
        where = f"{'.'.join(map(str, place[:-1]))}: " if place[:-1] else ""
        return (
            f"{where}unknown key {place[-1]!r}; {nearest(str(place[-1]), keys(parent))}"
        )
    rules = dict.fromkeys(_rule(detail) for detail in details)
    shown = _shown(first["input"])
    advice = _advice(place, model)
    return f"{dotted}: {shown} must be {' or '.join(rules)}" + (
        advice and f"; {advice}"
    )


def _shown(value: object) -> str:
    """A value as YAML has it, cut where it is long."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _rule(detail: ErrorDetails) -> str:
    if detail["type"] == "model_type":
        return "a mapping"
    if detail["type"] == "string_too_short":
        return "a text that is not empty"
    text = detail["msg"].removeprefix("Value error, ")
    for start in ("Input should be ", "Input should ", "must be "):
        text = text.removeprefix(start)
    for verbose, short in (
        ("a valid ", "a "),
        ("a tuple", "a list"),
        ("a dictionary", "a mapping"),
        ("a a ", "a "),
        ("a integer", "a whole number"),
        ("a boolean", "true or false"),
        ("an instance of Path", "a path"),
        ("greater than or equal to", "at least"),
    ):
        text = text.replace(verbose, short)
    return text


def _advice(place: Location, model: type[BaseModel]) -> str:
    """The example of the nearest field that has one."""
    for end in range(len(place), 0, -1):
        field = _field_at(place[:end], model)
        if field is not None and field.examples:
            return f"for example {place[end - 1]}: {field.examples[0]}"
    return ""


def keys(model: type[BaseModel] | None) -> list[str]:
    """Names of the fields that a file may have."""
    fields = model.model_fields if model else {}
    return [f.alias or name for name, f in fields.items() if not f.exclude]


def _field_at(place: Location, model: type[BaseModel]) -> FieldInfo | None:
    parent = _model_at(place[:-1], model)
    return _field(parent, place[-1]) if parent else None


def _field(model: type[BaseModel], key: str | int) -> FieldInfo | None:
    named = {f.alias or name: f for name, f in model.model_fields.items()}
    return named.get(str(key))


def _model_at(place: Location, model: type[BaseModel]) -> type[BaseModel] | None:
    for key in place:
        if isinstance(key, int):
            continue
        field = _field(model, key)
        inner = _model_of(field.annotation) if field else None
        if inner is None:
            return None
        model = inner
    return model


def _model_of(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_of, get_args(annotation))), None)

"""YAML text as plain values with their line numbers.

Scalars have the types that Hydra gives them (1e-3 is a number, 2024-01-01 is text).
Duplicate keys, tags and keys that are not text are refused.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

from sweeper.system.errors import ExperimentError

Location: TypeAlias = tuple[str | int, ...]

MAX_DEPTH = 32

_TAG = "tag:yaml.org,2002:"
_NAMES = {"bool": "boolean", "int": "integer", "float": "number", "null": "null"}
_ALLOWED = {_TAG + name for name in (*_NAMES, "str", "seq", "map")}
# Floats of YAML 1.2. PyYAML's own rule requires a point and a signed exponent.
_FLOAT = re.compile(
    r"[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?$"
    r"|[-+]?\d[\d_]*[eE][-+]?\d+$"
    r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
)
# PyYAML's integers, except those in base 60: 16:9 is text.
_INT = re.compile(r"[-+]?(0b[01_]+|0[0-7_]*|[1-9][\d_]*|0x[\da-fA-F_]+)$")
_RESOLVERS = {
    start: [rule for rule in rules if rule[0] in (f"{_TAG}bool", f"{_TAG}null")]
    for start, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
} | {
    start: [(f"{_TAG}float", _FLOAT), (f"{_TAG}int", _INT)] for start in "-+.0123456789"
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _RESOLVERS


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _RESOLVERS

    def ignore_aliases(self, data: object) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a YAML text.

    Attributes:
        data: dicts, lists and scalars; None for an empty text.
        lines: 1-based line of every value except the root. A value of a mapping has
            the line of its key.
    """

    data: object
    lines: Mapping[Location, int]


def to_yaml(data: Mapping[str, object]) -> str:
    """Return YAML text that `parse` reads back as equal values; tuples become lists."""
    text: str = yaml.dump(
        dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=88
    )
    return text


def read(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        ExperimentError: it cannot be read, or is not YAML that `parse` accepts.
    """
    try:
        content = path.read_bytes()
        return parse(content.decode("utf-8-sig"), path)
    except OSError as error:
        raise ExperimentError(path, 0, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"byte {content[error.start]:#04x} is not UTF-8; save it as UTF-8"
        raise ExperimentError(path, line, message) from error


def parse(text: str, path: Path) -> Document:
    """Return the values of a YAML text; `path` is named in errors.

    Raises:
        ExperimentError: the text is not valid, with the line of the first error.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except RecursionError as error:
        raise ExperimentError(path, 0, "nested too deep") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"not valid YAML: character {error.character:#x} is not allowed"
        raise ExperimentError(path, line, message) from error
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, path) from error
    if root is None:
        return Document(None, {})
    reader = _Reader(path, loader)
    return Document(reader.value(root, ()), reader.lines)


def _syntax_error(
    error: yaml.MarkedYAMLError, text: str, path: Path
) -> ExperimentError:
    text = text.rstrip()
    mark = error.problem_mark or error.context_mark
    if mark and error.context_mark and mark.index >= len(text):
        mark = error.context_mark  # the bracket or quote that is never closed
    problem = " ".join(filter(None, (error.context, error.problem)))
    message = f"not valid YAML: {problem}"
    if mark and mark.index < len(text):
        message += f"\n{mark.get_snippet(max_length=100)}"
    line = min(mark.line, text.count("\n")) + 1 if mark else 0
    return ExperimentError(path, line, message)


@dataclass(frozen=True, slots=True)
class _Reader:
    """A walk over the nodes of a document that records the line of each."""

    path: Path
    loader: _Loader
    lines: dict[Location, int] = field(default_factory=dict)

    def value(self, node: Node, location: Location) -> object:
        if node.tag not in _ALLOWED:
            raise self._error(node, f"tag {node.tag!r} is not allowed; remove it")
        if len(location) > MAX_DEPTH:  # or an alias that contains itself
            raise self._error(node, f"nested more than {MAX_DEPTH} deep")
        if isinstance(node, MappingNode):
            return self._mapping(node, location)
        if isinstance(node, SequenceNode):
            values = []
            for index, item in enumerate(node.value):
                self.lines[(*location, index)] = _line(item)
                values.append(self.value(item, (*location, index)))
            return values
        try:
            value: object = self.loader.construct_object(node)
        except (ValueError, KeyError) as error:  # !!int x, !!bool x, 5,000 digits
            name = _NAMES[node.tag.removeprefix(_TAG)]
            message = f"{node.value[:40]!r} is not a valid {name}"
            raise self._error(node, message) from error
        if isinstance(value, float) and not math.isfinite(value):
            raise self._error(node, f"{node.value!r} is not a finite number")
        return value

    def _mapping(self, node: MappingNode, location: Location) -> dict[str, object]:
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self.value(key_node, location)
            if not isinstance(key, str):
                raise self._error(
                    key_node, f"key {key!r} is not text; put it in quotes"
                )
            if key in data:
                first = self.lines[(*location, key)]
                message = f"duplicate key {key!r}; first defined on line {first}"
                raise self._error(key_node, message)
            self.lines[(*location, key)] = _line(key_node)
            data[key] = self.value(value_node, (*location, key))
        return data

    def _error(self, node: Node, message: str) -> ExperimentError:
        return ExperimentError(self.path, _line(node), message)


def _line(node: Node) -> int:
    line: int = node.start_mark.line + 1
    return line

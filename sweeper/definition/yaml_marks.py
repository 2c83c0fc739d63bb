"""YAML text as plain values with the line of each of them.

It accepts the YAML that Hydra's configs are written in (1e-3 is a number) and
refuses what an experiment file never needs: duplicate keys, aliases that grow or
turn in circles, depth beyond reason, tags. It never builds an object by name.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sweeper.errors import ExperimentError

Location: TypeAlias = tuple[str | int, ...]

CARET_WIDTH = 100  # columns of a wrong line that are shown
MAX_BYTES = 128 * 1024  # PyYAML reads about 200 KB a second
MAX_DEPTH = 32
MAX_VALUES = 50_000  # counted after aliases are followed

_FLOAT = "tag:yaml.org,2002:float"
_INT = "tag:yaml.org,2002:int"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "null", "str")}
_SCALARS.add(_FLOAT)
_CONTAINERS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
# YAML 1.2's floats: PyYAML's own rule wants a point and a signed exponent.
_FLOAT_PATTERN = re.compile(
    r"""^(?:
     [-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)
    |[-+]?\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)?
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
# PyYAML's integers without base 60: 16:9 is a word.
_INT_PATTERN = re.compile(
    r"^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_RESOLVERS = {
    key: [(tag, rule) for tag, rule in rules if tag not in (_FLOAT, _INT, _TIMESTAMP)]
    for key, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _key in "-+0123456789.":
    _numbers = [(_FLOAT, _FLOAT_PATTERN), (_INT, _INT_PATTERN)]
    _RESOLVERS[_key] = [*_numbers, *_RESOLVERS.get(_key, [])]


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a YAML text.

    Attributes:
        data: dicts, lists and scalars; None for an empty text.
        lines: 1-based line of every value; a value of a mapping has its key's line.
            The root has none.
    """

    data: object
    lines: Mapping[Location, int]


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"nested more than {MAX_DEPTH} deep",
                problem_mark=self.get_mark(),
            )
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


_Loader.yaml_implicit_resolvers = _RESOLVERS
_Dumper.yaml_implicit_resolvers = _RESOLVERS


def to_yaml(data: Mapping[str, object]) -> str:
    """YAML text that `parse` reads back equal; tuples become lists."""
    text: str = yaml.dump(
        dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=88
    )
    return text


def read(path: Path) -> Document:
    """The values of a YAML file.

    Raises:
        ExperimentError: it cannot be read, or is not YAML that `parse` accepts.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ExperimentError(path, 0, f"cannot be read: {reason}") from error
    except ValueError as error:  # a NUL in the name
        raise ExperimentError(path, 0, f"is no file name: {error}") from error
    if len(content) > MAX_BYTES:
        raise ExperimentError(
            path, 0, f"larger than {MAX_BYTES // 1024} KiB; is this an experiment file?"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ExperimentError(
            path,
            line,
            f"byte {content[error.start]:#04x} is no UTF-8; save it as UTF-8",
        ) from error
    return parse(text, path)


def parse(text: str, path: Path) -> Document:
    """The values of a YAML text; `path` is named in errors.

    Raises:
        ExperimentError: at the line of the first thing that is refused.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return Document(None, {})
        builder = _Builder(path, loader)
        data = builder.build(root, ())
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ExperimentError(
            path, line, f"character {error.character:#x} is not allowed in YAML"
        ) from error
    except yaml.MarkedYAMLError as error:
        line = _problem_line(error, text)
        raise ExperimentError(
            path, line, f"not YAML: {_problem(error)}{_caret(error, text, line)}"
        ) from error
    return Document(data, builder.lines)


def _caret(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    """The line with a caret below its column; "" where the mark is elsewhere."""
    marks = (error.problem_mark, error.context_mark)
    columns = [mark.column for mark in marks if mark and mark.line + 1 == line]
    lines = text.splitlines()
    if not columns or line > len(lines) or not lines[line - 1].isprintable():
        return ""
    shown = lines[line - 1][:CARET_WIDTH]
    if columns[0] > len(shown):
        return ""
    return f"\n    {shown}\n    {' ' * columns[0]}^"


def _problem_line(error: yaml.MarkedYAMLError, text: str) -> int:
    """Where to look: an unclosed bracket or quote is told where it was opened."""
    is_open = "stream end" in str(error.problem) or "end of stream" in str(
        error.problem
    )
    mark = (is_open and error.context_mark) or error.problem_mark or error.context_mark
    last = len(text.rstrip().splitlines())
    return min(mark.line + 1, last) if mark else 0


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join(filter(None, (error.context, error.problem)))
    if "'\\t'" in problem:
        return "a tab indents this line; YAML indents with spaces"
    if "but found another document" in problem:
        return "a second document starts here; a file holds one experiment"
    if "mapping values are not allowed" in problem:
        return "a second ': ' in one line; put text that holds ': ' in quotes"
    return problem.replace("\n", " ")


class _Builder:
    """One walk that follows aliases, checks every node and notes its line."""

    def __init__(self, path: Path, loader: _Loader) -> None:
        self.lines: dict[Location, int] = {}
        self._path = path
        self._loader = loader
        self._open: set[int] = set()  # ids of the containers being walked
        self._count = 0

    def build(self, node: Node, location: Location) -> object:
        self._count += 1
        if self._count > MAX_VALUES:
            raise self._error(node, f"more than {MAX_VALUES} values, aliases followed")
        if id(node) in self._open:
            raise self._error(node, "an alias (*name) that contains itself")
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if node.tag not in _CONTAINERS:
            raise self._error(node, f"tag {node.tag!r} is not allowed; remove it")
        self._open.add(id(node))
        data: object
        if isinstance(node, MappingNode):
            data = self._mapping(node, location)
        else:
            assert isinstance(node, SequenceNode)  # noqa: S101  # YAML has no fourth
            data = self._sequence(node, location)
        self._open.remove(id(node))
        return data

    def _mapping(self, node: MappingNode, location: Location) -> dict[str, object]:
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            place = (*location, key)
            if key in data:
                raise self._error(
                    key_node, f"{key!r} stands at line {self.lines[place]} already"
                )
            self.lines[place] = _line(key_node)
            data[key] = self.build(value_node, place)
        return data

    def _sequence(self, node: SequenceNode, location: Location) -> list[object]:
        data = []
        for index, item in enumerate(node.value):
            self.lines[(*location, index)] = _line(item)
            data.append(self.build(item, (*location, index)))
        return data

    def _key(self, node: Node) -> str:
        if not isinstance(node, ScalarNode):
            raise self._error(node, "a list or mapping as a key; a key is a word")
        if node.tag == "tag:yaml.org,2002:merge":
            raise self._error(node, "'<<' is not supported; write the keys out")
        key = self._scalar(node)
        if not isinstance(key, str):
            raise self._error(node, f"key {node.value!r} is no word; put it in quotes")
        return key

    def _scalar(self, node: ScalarNode) -> object:
        if node.tag not in _SCALARS:
            hint = "put it in quotes" if node.value in ("=", "<<") else "remove the tag"
            raise self._error(node, f"{node.value!r} is no plain value; {hint}")
        try:
            value = self._loader.construct_object(node)
        except (ValueError, KeyError) as error:  # !!int x, !!bool x, 5,000 digits
            shown = node.value[:40]
            raise self._error(node, f"{shown!r} is no {node.tag[18:]}") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise self._error(node, f"{node.value!r} is no finite number")
        if isinstance(value, str) and not value.isprintable():
            self._check_text(node, value)
        return value

    def _check_text(self, node: Node, value: str) -> None:
        """Refuse what an escape in quotes can smuggle into a name or a terminal."""
        if _CONTROL.search(value):
            shown = value[:40]
            raise self._error(node, f"{shown!r} holds a control character; remove it")

    def _error(self, node: Node, message: str) -> ExperimentError:
        return ExperimentError(self._path, _line(node), message)


def _line(node: Node) -> int:
    line: int = node.start_mark.line + 1
    return line

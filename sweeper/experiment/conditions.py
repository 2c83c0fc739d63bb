"""Conditions on the parameters of a point (`where`, `when`), evaluated without eval."""

import ast
import itertools
import operator
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.protocol import Params
from sweeper.system.errors import ConfigError, nearest

MAX_LENGTH = 2_000
UNKNOWN = object()  # the value of a parameter that is missing from the point
ALLOWED = (
    "only comparisons, and, or, not, in, + - * / // %, constants and names of "
    "parameters are"
)

_OPERATORS: dict[type[ast.AST], Callable[..., object]] = {
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_ARITHMETIC: dict[type[ast.AST], Callable[..., object]] = {
    ast.USub: operator.neg,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_NODES = (
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.BinOp, ast.Compare, ast.Load),
    *(ast.Tuple, ast.List, ast.Set, *_OPERATORS, *_ARITHMETIC),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A checked condition, as `parse` returns it.

    Attributes:
        tree: the expression, with the names of parameters as in points.
        names: the parameters that the expression reads.
        label: the key that holds the text.
    """

    text: str
    tree: ast.AST = field(compare=False)
    names: frozenset[str]
    label: str

    def holds(self, params: Params, *, unknown: bool = True) -> bool:
        """Return whether a point satisfies the condition.

        A comparison with a parameter that is missing from the point is neither true
        nor false (Kleene's logic, as in SQL).

        Args:
            unknown: result if the whole condition is neither true nor false.

        Raises:
            ConfigError: the condition compares or divides values of unsuitable types.
        """
        try:
            value = _value(self.tree, params)
        except (TypeError, ArithmeticError, RecursionError) as error:
            used = {n: params[n] for n in sorted(self.names) if n in params}
            raise ConfigError(
                f"{self.label}: {self.text[:80]!r} fails for {used}: {error}; "
                "compare numbers with numbers and text with text"
            ) from error
        return unknown if value is UNKNOWN else bool(value)


def parse(
    text: str,
    parameters: Mapping[str, str],
    *,
    words: Collection[str] = (),
    label: str = "where",
) -> Condition:
    """Return the condition that a text describes.

    Args:
        text: a Python expression.
        parameters: names in the text -> names in points.
        words: values of parameters that may be written without quotes.
        label: the key that holds the text.

    Raises:
        ConfigError: the text is not an allowed expression, or has an unknown name.

    >>> where = parse("not (model == 'big' and data.batch > 64)",
    ...               {"model": "model", "data.batch": "data.batch"})
    >>> where.holds({"model": "big", "data.batch": 128})
    False
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"{label}: longer than {MAX_LENGTH} characters")
    resolver = _Resolver(parameters, words, label)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = resolver.visit(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "too deep"
        raise ConfigError(
            f"{label}: {text[:80]!r} is not an expression ({reason}); "
            "write \"model == 'a' and data.batch_size <= 64\", for example"
        ) from error
    return Condition(text=text, tree=tree, names=frozenset(resolver.names), label=label)


class _Resolver(ast.NodeTransformer):
    """Rejection of forbidden nodes, and conversion of dotted names to plain ones."""

    def __init__(
        self, parameters: Mapping[str, str], words: Collection[str], label: str
    ) -> None:
        self.parameters, self.words, self.label = parameters, words, label
        self.names: set[str] = set()

    def visit(self, node: ast.AST) -> ast.AST:
        match node:
            case ast.Constant(value=None | bool() | int() | float() | str()):
                return node
            case ast.Name() | ast.Attribute() | ast.Subscript() if name := _name(node):
                return self._named(name)
        if not isinstance(node, _NODES):
            shown = ast.unparse(node)[:80]
            raise ConfigError(f"{self.label}: {shown!r} is not allowed; {ALLOWED}")
        return self.generic_visit(node)

    def _named(self, name: str) -> ast.expr:
        if name in self.parameters:
            self.names.add(self.parameters[name])
            return ast.Name(self.parameters[name])
        if name in self.words:
            return ast.Constant(name)
        above = " above it" if self.label == "when" else ""
        advice = nearest(name, self.parameters)
        raise ConfigError(f"{self.label}: no parameter {name!r}{above}; {advice}")


def _name(node: ast.expr) -> str:
    """Return the dotted name that a node spells; "" if it is not a name."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            parent = _name(value)
            return f"{parent}.{attribute}" if parent else ""
        case ast.Subscript(value=ast.Name(id="params"), slice=ast.Constant(value=name)):
            return str(name)  # params["group/option"]: not a Python name
    return ""


def _value(node: ast.AST, params: Params) -> object:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return params.get(name, UNKNOWN)
        case ast.BoolOp(op=op, values=parts):
            values = (_value(part, params) for part in parts)
            return _first(values, decisive=isinstance(op, ast.Or))
        case ast.UnaryOp(op=op, operand=operand):
            return _applied(op, _value(operand, params))
        case ast.BinOp(left=left, op=op, right=right):
            return _applied(op, _value(left, params), _value(right, params))
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = [_value(side, params) for side in (left, *others)]
            pairs = zip(ops, itertools.pairwise(sides), strict=True)
            return _first((_applied(op, *pair) for op, pair in pairs), decisive=False)
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            members = [_value(item, params) for item in items]
            return UNKNOWN if UNKNOWN in members else members
    raise AssertionError(node)  # `_Resolver` refuses it


def _applied(op: ast.AST, *values: Any) -> object:
    """Apply an operator; return UNKNOWN if an operand is UNKNOWN."""
    if any(value is UNKNOWN for value in values):
        return UNKNOWN
    if type(op) in _OPERATORS:
        return _OPERATORS[type(op)](*values)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{value!r} is not a number")
    return _ARITHMETIC[type(op)](*values)


def _first(values: Iterable[object], *, decisive: bool) -> object:
    """Return the result of `and` or `or`: the first `decisive` value decides."""
    is_known = True
    for value in values:
        if value is UNKNOWN:
            is_known = False
        elif bool(value) is decisive:
            return decisive
    return not decisive if is_known else UNKNOWN

"""Conditions on the parameters of a point: `where` and `when`, read without eval."""

import ast
import itertools
import operator
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sweeper.protocol import Params
from sweeper.system.errors import ConfigError, nearest

MAX_LENGTH = 2_000
UNKNOWN = object()  # the value of a parameter that the point does not have
ALLOWED = (
    "only comparisons, and, or, not, in, + - * / // %, constants and names of "
    "parameters are"
)

Evaluate: TypeAlias = Callable[[Params], object]

_BINARY: dict[type[ast.operator], Callable[[Any, Any], object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], object]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition that `parse` has checked.

    Attributes:
        names: the parameters that it reads.
    """

    text: str
    names: frozenset[str]
    label: str
    evaluate: Evaluate = field(compare=False)

    def holds(self, params: Params, *, unknown: bool = True) -> bool:
        """Return whether a point satisfies the condition.

        A comparison with a parameter that the point does not have is neither true nor
        false (Kleene's logic, as in SQL).

        Args:
            unknown: the answer if the whole condition is neither.

        Raises:
            ConfigError: it compares or divides values that do not allow it.
        """
        try:
            value = self.evaluate(params)
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
        parameters: names as the text has them -> names as points have them.
        words: names that need no quotes to be a text: values of parameters.
        label: the key that holds the text.

    Raises:
        ConfigError: it is not an expression, not allowed, or has an unknown name.

    >>> where = parse("not (model == 'big' and data.batch > 64)",
    ...               {"model": "model", "data.batch": "data.batch"})
    >>> where.holds({"model": "big", "data.batch": 128})
    False
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"{label}: longer than {MAX_LENGTH} characters")
    compiler = _Compiler(parameters, words, label)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
        evaluate = compiler.compile(tree)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "too deep"
        raise ConfigError(
            f"{label}: {text[:80]!r} is not an expression ({reason}); "
            "write \"model == 'a' and data.batch_size <= 64\", for example"
        ) from error
    names = frozenset(compiler.names)
    return Condition(text=text, names=names, label=label, evaluate=evaluate)


@dataclass(frozen=True, slots=True)
class _Compiler:
    """A compiler from a syntax tree to functions of a point."""

    parameters: Mapping[str, str]
    words: Collection[str]
    label: str
    names: set[str] = field(default_factory=set)

    def compile(self, node: ast.expr) -> Evaluate:
        match node:
            case ast.Constant(value=None | bool() | int() | float() | str() as value):
                return lambda _: value
            case ast.Name() | ast.Attribute() | ast.Subscript() if name := _name(node):
                return self._named(name)
            case ast.BoolOp(op=op, values=values):
                return _junction(self._all(values), decisive=isinstance(op, ast.Or))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return _strict(operator.not_, self._all([operand]))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _strict(lambda inner: -_number(inner), self._all([operand]))
            case ast.BinOp(left=left, op=binary, right=right) if (
                type(binary) in _BINARY
            ):
                function = _BINARY[type(binary)]
                return _strict(
                    lambda *sides: function(*map(_number, sides)),
                    self._all([left, right]),
                )
            case ast.Compare(left=left, ops=ops, comparators=others) if all(
                type(comparison) in _COMPARE for comparison in ops
            ):
                pairs = itertools.pairwise(self._all([left, *others]))
                functions = [_COMPARE[type(comparison)] for comparison in ops]
                parts = map(_strict, functions, pairs)
                return _junction(list(parts), decisive=False)
            case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
                return _strict(lambda *members: members, self._all(items))
        shown = ast.unparse(node)[:80]
        raise ConfigError(f"{self.label}: {shown!r} is not allowed; {ALLOWED}")

    def _all(self, nodes: Iterable[ast.expr]) -> list[Evaluate]:
        return [self.compile(node) for node in nodes]

    def _named(self, name: str) -> Evaluate:
        if name in self.parameters:
            parameter = self.parameters[name]
            self.names.add(parameter)
            return lambda point: point.get(parameter, UNKNOWN)
        if name in self.words:
            return lambda _: name
        above = " above it" if self.label == "when" else ""
        known = nearest(name, self.parameters)
        raise ConfigError(f"{self.label}: no parameter {name!r}{above}; {known}")


def _strict(function: Callable[..., object], parts: Sequence[Evaluate]) -> Evaluate:
    """Return a function of a point that is unknown if one of its parts is."""

    def evaluate(point: Params) -> object:
        values = [part(point) for part in parts]
        return UNKNOWN if UNKNOWN in values else function(*values)

    return evaluate


def _junction(parts: Sequence[Evaluate], *, decisive: bool) -> Evaluate:
    """Return `and` or `or`: the first part whose value is `decisive` decides."""

    def evaluate(point: Params) -> object:
        is_known = True
        for part in parts:
            value = part(point)
            if value is UNKNOWN:
                is_known = False
            elif bool(value) is decisive:
                return decisive
        return not decisive if is_known else UNKNOWN

    return evaluate


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value


def _name(node: ast.expr) -> str:
    """Return the dotted name that a node spells, "" if it spells none."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            parent = _name(value)
            return f"{parent}.{attribute}" if parent else ""
        case ast.Subscript(value=ast.Name(id="params"), slice=ast.Constant(value=name)):
            return str(name)  # params["group/option"]: not a Python name
    return ""

"""`where` and `when`: conditions on the parameters of a point, read without eval.

It knows comparisons, `and or not`, `in`, + - * / // %, constants and the names of
parameters; there is no call, no index and no power, so it ends at once.
"""

import ast
import operator
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from sweeper.errors import ConfigError, nearest
from sweeper.trial import Params

MAX_LENGTH = 2_000
UNKNOWN = object()  # what follows from a parameter that the point does not have
ALLOWED = "comparisons, and, or, not, in, + - * / // %, constants and parameters"

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type[ast.cmpop], Callable[..., bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}


@dataclass(frozen=True, slots=True)
class Where:
    """A condition that `parse` has checked.

    Attributes:
        names: the parameters that it reads.
    """

    text: str
    names: frozenset[str]
    _tree: ast.expr
    _parameters: Mapping[str, str]
    _label: str = "where"

    def holds(self, params: Params, *, unknown: bool = True) -> bool:
        """Whether a point satisfies the condition.

        A comparison with a parameter that the point does not have is neither true nor
        false (Kleene's logic, as in SQL).

        Args:
            unknown: the answer where the whole condition is neither.

        Raises:
            ConfigError: it compares or divides what cannot be.
        """
        try:
            value = self._value(self._tree, params)
            return unknown if value is UNKNOWN else bool(value)
        except (TypeError, ArithmeticError, RecursionError) as error:
            used = {n: params[n] for n in sorted(self.names) if n in params}
            raise ConfigError(
                f"{self._label}: {self.text[:80]!r} fails for {used}: {error}; "
                "compare numbers with numbers and text with text"
            ) from error

    def _value(self, node: ast.expr, params: Params) -> object:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name() | ast.Attribute() | ast.Subscript():
                name = _name(node)
                if name not in self._parameters:
                    return name  # a bare word
                return params.get(self._parameters[name], UNKNOWN)
            case ast.BoolOp(op=op, values=values):
                results = (self._value(value, params) for value in values)
                return _joined(results, decisive=isinstance(op, ast.Or))
            case ast.UnaryOp(op=op, operand=operand):
                inner = self._value(operand, params)
                if inner is UNKNOWN:
                    return UNKNOWN
                return not inner if isinstance(op, ast.Not) else -_number(inner)
            case ast.BinOp(left=left, op=op, right=right):
                sides = [self._value(side, params) for side in (left, right)]
                if UNKNOWN in sides:
                    return UNKNOWN
                return _BINARY[type(op)](*map(_number, sides))
            case ast.Compare():
                return self._compare(node, params)
            case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
                members = [self._value(item, params) for item in items]
                return UNKNOWN if UNKNOWN in members else members
        raise AssertionError(ast.dump(node))

    def _compare(self, node: ast.Compare, params: Params) -> object:
        left = self._value(node.left, params)
        is_known = True
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self._value(comparator, params)
            if left is UNKNOWN or right is UNKNOWN:
                is_known = False
            elif not _COMPARE[type(op)](left, right):
                return False
            left = right
        return is_known or UNKNOWN


def _joined(values: Iterable[object], *, decisive: bool) -> object:
    """`and` or `or` of some values, of which the first `decisive` one decides."""
    is_known = True
    for value in values:
        if value is UNKNOWN:
            is_known = False
        elif bool(value) is decisive:
            return decisive
    return not decisive if is_known else UNKNOWN


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value


def parse(
    text: str,
    parameters: Mapping[str, str],
    *,
    words: Collection[str] = (),
    label: str = "where",
) -> Where:
    """The condition that a text describes.

    Args:
        text: a Python expression.
        parameters: names as the text has them -> names as points have them.
        words: names that need no quotes to be a text: values of parameters.
        label: the key that holds the text.

    Raises:
        ConfigError: no expression, not allowed, or a name that is no parameter.

    >>> where = parse("not (model == 'big' and data.batch > 64)",
    ...               {"model": "model", "data.batch": "data.batch"})
    >>> where.holds({"model": "big", "data.batch": 128})
    False
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"{label}: longer than {MAX_LENGTH} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
        found = _Check(parameters, words, label).names(tree)
        names = frozenset(parameters[name] for name in found)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "too deep"
        raise ConfigError(
            f"{label}: {text[:80]!r} is no expression ({reason}); "
            "write \"model == 'a' and data.batch_size <= 64\", for example"
        ) from error
    return Where(text, names, tree, dict(parameters), label)


def _name(node: ast.expr) -> str:
    """The dotted name that a node spells, "" where it spells none."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            parent = _name(value)
            return f"{parent}.{attribute}" if parent else ""
        case ast.Subscript(value=ast.Name(id="params"), slice=ast.Constant(value=name)):
            return str(name)  # params["group/option"]: no Python name
    return ""


@dataclass(frozen=True, slots=True)
class _Check:
    """Looks at every node of a tree; see `parse`."""

    parameters: Mapping[str, str]
    words: Collection[str]
    label: str

    def names(self, node: ast.expr) -> set[str]:
        """The parameters in a tree of which every node is allowed."""
        children: list[ast.expr]
        match node:
            case ast.Constant(value=None | bool() | int() | float() | str()):
                return set()
            case ast.Name() | ast.Attribute() | ast.Subscript() if name := _name(node):
                return self._name(name)
            case ast.BoolOp(values=values):
                children = values
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                children = [operand]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                children = [left, right]
            case ast.Compare(left=left, ops=ops, comparators=right_sides) if all(
                type(op) in _COMPARE for op in ops
            ):
                children = [left, *right_sides]
            case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
                children = items
            case _:
                shown = ast.unparse(node)[:80]
                raise ConfigError(
                    f"{self.label}: {shown!r} is not allowed; it knows {ALLOWED}"
                )
        return {name for child in children for name in self.names(child)}

    def _name(self, name: str) -> set[str]:
        if name in self.parameters:
            return {name}
        if name in self.words:
            return set()
        raise ConfigError(
            f"{self.label}: no parameter {name!r}; {nearest(name, self.parameters)}"
        )

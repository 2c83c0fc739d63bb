"""A space holds exactly the points that Hydra's grammar and `where` name."""

import itertools
import json
import operator
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from sweeper.experiment.conditions import parse as parse_where
from sweeper.experiment.definition import Experiment
from sweeper.experiment.loading import load
from sweeper.experiment.parameter import expand
from sweeper.experiment.space import Space, parse
from sweeper.system import grammar
from sweeper.system.errors import ConfigError, ExperimentError, SweeperError

GROUPS = {"model": ("resnet18", "resnet50", "vit"), "optim/lr": ("warm", "cold")}
NASTY = [
    *("a,b", "x=y", "{}", "[]", "a b", " a ", "größe", "日本", "it's", 'say "hi"'),
    *("null", "NULL", "true", "False", "1", "1e-3", "-2", "inf", "nan", "1_000"),
    *("\\", "a\\", "\\'", "'", '"', "''", "a\\\\'b", "${x}", "$x", "~", "+a", "#", "%"),
    *("choice(a)", "(", "glob(*)", "a:b", "/a/x", "@x", "a\tb", "a\nb", "", "-", "."),
]

Make = Callable[..., Space]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Parse the space of an experiment text with search_space as its first key."""
    (tmp_path / "pyproject.toml").touch()

    def run(text: str) -> Space:
        path = tmp_path / "exp.yaml"
        path.write_text(f"{text}\nobjective: {{metric: acc}}\n")
        return parse(load(path), GROUPS)

    return run


def _single(make: Make, value: str) -> BaseDistribution:
    """The distribution of one parameter under random search."""
    space = make(f"search_space:\n  x: {value}\nsearch: random")
    return space.distributions["x"]


@pytest.mark.parametrize(
    ("value", "choices"),
    [
        ("a, b", ("a", "b")),
        ("choice(3, a, 2.5, true)", (3, "a", 2.5, True)),
        ("3, null", (3, None)),
        ("[1e-3, 1, b, null, false, '1e-3']", (1e-3, 1, "b", None, False, "1e-3")),
        ("range(1, 4)", (1, 2, 3)),
        ("range(3)", (0, 1, 2)),
        ("range(3, 0, -1)", (3, 2, 1)),
        ("range(0.1, 0.5, 0.1)", (0.1, 0.2, 0.3, 0.4)),
        ("range(1, 2, 0.5)", (1.0, 1.5)),
        ("sort(c, a, b)", ("a", "b", "c")),
        ("sort(range(3), reverse=true)", (2, 1, 0)),
        ("float(1, 2)", (1.0, 2.0)),
        ("str(1, 2)", ("1", "2")),
        ("5", (5,)),
        ("hello", ("hello",)),
        ("'a, \"b, c\"'", ("a", "b, c")),
        ("[[1, 2], {a: 1}, '[1,2]x']", ("[1,2]", "{a:1}", "[1,2]x")),
        ("'[1,2],[3]'", ("[1,2]", "[3]")),
    ],
)
def test_a_sweep_of_values_is_the_exact_list(
    make: Make, value: str, choices: tuple[object, ...]
) -> None:
    distribution = _single(make, value)
    assert isinstance(distribution, CategoricalDistribution)
    assert repr(distribution.choices) == repr(choices)


@pytest.mark.parametrize(
    ("value", "distribution"),
    [
        ("interval(0, 1)", FloatDistribution(0.0, 1.0)),
        ("tag(log, interval(1e-5, 1e-2))", FloatDistribution(1e-5, 1e-2, log=True)),
        ("int(interval(1, 8))", IntDistribution(1, 8)),
        ("tag(int, interval(1, 8))", IntDistribution(1, 8)),
        ("tag(int, log, interval(1, 64))", IntDistribution(1, 64, log=True)),
    ],
)
def test_an_interval_is_optunas_distribution(
    make: Make, value: str, distribution: BaseDistribution
) -> None:
    assert _single(make, value) == distribution


def test_a_glob_takes_the_options_of_its_group(make: Make) -> None:
    space = make("search_space: {model: 'glob(res*, exclude=*50)', optim/lr: glob(*)}")
    assert [p.choices for p in space.parameters] == [("resnet18",), ("warm", "cold")]
    assert all(parameter.is_group for parameter in space.parameters)


def test_a_shuffle_is_the_same_in_every_process(make: Make) -> None:
    text = "search_space: {x: 'shuffle(range(50))', y: 'shuffle(range(50))'}"
    first, again = make(text), make(text)
    x, y = (parameter.choices for parameter in first.parameters)
    assert sorted(x) == list(range(50)) != list(x)
    assert x != y
    assert first.distributions == again.distributions


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            "search_space:\n  a: [1]\n  x: interval(0, 1)",
            3,
            "'x' is an interval, which",
        ),
        ("search_space:\n  x: interval(1, 1)", 2, "must go up"),
        ("search_space:\n  p: 'zip(a=choice(1, 2), b=choice(1))'", 2, "as many values"),
        ("search_space:\n  p: 'zip(a=choice(1, 2))'", 2, "two keys or more"),
        ("search_space:\n  p: 'zip(a=1, 2, b=choice(1))'", 2, "key=choice(...)"),
        ("search_space:\n  p: 'zip(a=interval(0, 1), b=1)'", 2, "is an interval"),
        ("search_space:\n  p: 'zip(a=choice(1, 1), b=choice(2, 2))'", 2, "same values"),
        ("search_space:\n  p.q: 'zip(a=choice(1, 2), b=choice(1, 2))'", 2, "as a word"),
        (
            "search_space:\n  a: [1]\n  p: 'zip(a=choice(1, 2), b=choice(1, 2))'",
            2,
            "'a' is swept twice",
        ),
        (
            "search_space: {p: 'zip(a=choice(1), b=choice(1))'}\noverrides: [b=1]",
            2,
            "would have no effect",
        ),
        ("search_space:\n  x: tag(log, interval(0, 1))", 2, "must begin above 0"),
        ("search_space:\n  x: tag(lgo, interval(0, 1))", 2, "did you mean 'log'?"),
        ("search_space:\n  x: tag(int, interval(0.5, 2))", 2, "of whole numbers"),
        ("search_space:\n  x: range(1, 1)", 2, "holds 0 values"),
        ("search_space:\n  x: range(1000000000)", 2, "holds 1000000000 values"),
        ("search_space:\n  x: range(1, 2, 0)", 2, "a step other than 0"),
        ("search_space:\n  x: range(true)", 2, "from number to number"),
        ("search_space:\n  model: glob([1])", 2, "matches names"),
        ("search_space:\n  x: uniform(0, 1)", 2, "Unknown function 'uniform'"),
        ("search_space:\n  x: a, interval(0, 1)", 2, "a sweep within a list"),
        ("search_space:\n  x: [1, 2, 1.0]", 2, "'x' lists 1.0, which equals 1"),
        ("search_space:\n  x: [1, true]", 2, "'x' lists true, which equals 1"),
        ("search_space:\n  x: []", 2, "0 values for 'x'"),
        ("search_space:\n  x: {a: 1}", 2, "a mapping; write values"),
        ("search_space:\n  x: [{'a b': 1}, {'1': 2}]", 2, "cannot be written"),
        ("search_space:\n  x: '['", 2, "is not a Hydra override"),
        ("search_space:\n  x: größe, b", 2, "put text with special characters in"),
        ("search_space:\n  x: glob(*)", 2, "not a config group"),
        ("search_space:\n  model: glob(x*)", 2, "options: resnet18, resnet50, vit"),
        ("search_space:\n  model: [null]", 2, "not an option of the group"),
        ("search_space:\n  a b: [1]", 2, "is not a Hydra override"),
        ("search_space:\n  ~a: [1]", 2, "a deletion"),
        ("search_space:\n  seed: [1]", 2, "write seeds: [42, 43]"),
        ("search_space:\n  hydra.run.dir: [a]", 2, "Hydra's own"),
        ("search_space:\n  x: [1]\n  +x: [2]", 2, "'x' is swept twice"),
        ("search_space:\n  variant: [1]\nvariants: {a: []}", 2, "names the recipes"),
        ("search_space: {x: [1]}\noverrides:\n- y=1\n- x=2", 4, "would have no effect"),
        ("search_space: {x: [1]}\noverrides: [y]", 2, "is not a Hydra override"),
        ("search_space: {x: [1]}\noverrides: ['y=1,2']", 2, "is a sweep"),
        ("search_space: {x: [1]}\noverrides: [seed=1]", 2, "from seeds: [42]"),
        (
            "search_space: {x: [1]}\nvariants:\n  a:\n  - b",
            4,
            "variants.a: 'b' is not a",
        ),
        ("search_space: {x: [1]}\nwhere: y == 1", 2, "no parameter 'y'; known: x"),
        ("search_space: {depth: [1]}\nwhere: detph == 1", 2, "mean 'depth'?"),
        ("search_space: {x: [1]}\nwhere: x > 1", 2, "none of 1 points satisfies"),
        ("search_space: {x: [1]}\nwhere: x > 'a'", 2, "fails for {'x': 1}"),
        ("search_space: {x: [1]}\nwhere: x % 0", 2, "modulo by zero"),
        ("search_space: {x: [1]}\nbaseline: {x: 2}", 2, "2 is not a value of 'x': 1"),
        ("search_space: {x: [1]}\nbaseline: {x: true}", 2, "True is not a value"),
        ("search_space: {x: [1]}\nbaseline:\n  y: 2", 3, "no parameter 'y'"),
        ("search_space: {x: [1, 2], y: [1, 2]}\nbaseline: {x: 1}", 2, "value for 'y'"),
        (
            "search_space: {x: [1, 2]}\nwhere: x > 1\nbaseline: {x: 1}",
            3,
            "does not satisfy where",
        ),
        (
            "search: random\nsearch_space: {x: 'interval(0, 1)'}\nbaseline: {x: 2}",
            3,
            "2 is not a value of 'x': 0.0 to 1.0",
        ),
        (
            "search_space:\n  " + "\n  ".join(f"x{i}: range(10)" for i in range(6)),
            1,
            "1000000 points; a grid has at most 100000",
        ),
    ],
)
def test_what_is_no_space_is_told_with_its_line(
    make: Make, text: str, line: int, message: str
) -> None:
    with pytest.raises(ExperimentError) as caught:
        make(text)
    assert caught.value.line == line, caught.value
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_space_of_nothing_but_seeds_has_one_point(make: Make) -> None:
    space = make("search_space: {}")
    assert list(space.points()) == [{}]
    assert space.size == 1
    assert space.overrides({}) == ()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("search_space: {x: [1, 2], y: 'a, b, c'}", 6),
        ("search_space: {x: [1, 2]}\nvariants: {a: [], b: [c=1]}", 4),
        ("search_space: {x: [1, 2, 3]}\nwhere: x != 2", 2),
        ("search_space: {x: 'interval(0, 1)'}\nsearch: random", None),
        (
            "search: random\nsearch_space:\n  "
            + "\n  ".join(f"x{i}: range(10)" for i in range(6)),
            1_000_000,
        ),
    ],
)
def test_the_size_counts_the_points_that_can_be_counted(
    make: Make, text: str, size: int | None
) -> None:
    assert make(text).size == size


def test_the_overrides_of_a_variant_come_last(make: Make) -> None:
    space = make(
        "search_space: {model: [vit], +x: [[1], null]}\n"
        "variants: {plain: [], big: [x=3, ~y, model=resnet50]}"
    )
    *_, last = space.points()
    assert last == {"model": "vit", "+x": None, "variant": "big"}
    assert space.overrides(last) == (
        *("model=vit", "+x=null"),
        *("x=3", "~y", "model=resnet50"),
    )


def test_a_zip_pairs_its_values_in_order(make: Make) -> None:
    space = make(
        "search_space: {n: [1, 2], p: 'zip(model=choice(vit, resnet18), "
        "+lr=range(1, 3), l=choice([1, 2], [3, 4]), t=choice(''a, (b'', c))'}\n"
        "where: \"n == 2 or p != ''\""
    )
    assert space.size == 4
    points = list(space.points())
    assert [space.overrides(point) for point in points[:2]] == [
        ("n=1", "model=vit", "+lr=1", "l=[1,2]", "t='a, (b'"),
        ("n=1", "model=resnet18", "+lr=2", "l=[3,4]", "t=c"),
    ]
    assert space.canonical(points[0]) == points[0]


def test_equal_points_have_one_spelling(make: Make) -> None:
    space = make(
        "search: random\n"
        "search_space: {lr: [1.0, 2], n: 'int(interval(1, 9))', w: 'interval(0, 9)', "
        "l: [[1], 3]}"
    )
    point = space.canonical({"w": 1, "n": 2.0, "lr": 1, "l": [1]})
    assert repr(point) == "{'lr': 1.0, 'n': 2, 'w': 1.0, 'l': '[1]'}"
    assert space.canonical(point) == point
    for wrong in ({"lr": True}, {"lr": 3}, {"n": 2.5}, {"w": "1"}, {"w": None}):
        with pytest.raises(ConfigError, match="is not a value of"):
            space.canonical({**point, **wrong})


def test_a_baseline_takes_the_only_value_of_what_it_leaves_out(make: Make) -> None:
    space = make(
        "search_space: {model: [vit], x: [1, {a: 2}], y: [1.5]}\nbaseline: {x: {a: 2}}"
    )
    assert space.baseline == {"model": "vit", "x": "{a:2}", "y": 1.5}


def test_a_point_of_an_older_file_still_has_overrides(make: Make) -> None:
    space = make("search_space: {x: [1, 2]}")
    assert space.overrides({"x": 7, "gone": "a,b"}) == ("x=7", "gone='a,b'")


@pytest.mark.parametrize("text", NASTY)
def test_a_nasty_string_reaches_hydra_as_it_is(make: Make, text: str) -> None:
    listed = json.dumps([text, [text], {"k": text}], ensure_ascii=False)
    space = make(f"search_space: {{x: {listed}}}")
    parser = OverridesParser.create()
    words = [space.overrides(point)[0] for point in space.points()]
    values = [parser.parse_override(word).value() for word in words]
    assert repr(values) == repr([text, [text], {"k": text}])


_VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]))
    | st.text("\\'\"{}[]$,=: ab1", max_size=8)
)


@given(
    value=st.recursive(
        _VALUES,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text("abcXYZ_", min_size=1), inner, max_size=3)
        ),
        max_leaves=5,
    )
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_hydras_parser_reads_the_text_of_any_value_back(value: object) -> None:
    word = f"key={grammar.to_text(value)}"
    read = OverridesParser.create().parse_override(word).value()
    assert repr(read) == repr(value)


@given(text=st.text("abx01.,:()[]{}='\"$\\ -e", max_size=30))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_text_is_expanded_or_refused(text: str) -> None:
    for function in ("", "range", "choice", "tag", "interval", "glob"):
        assert "\n" not in _refusal(f"{function}({text})" if function else text)


def _refusal(text: str) -> str:
    """Why a text is no sweep, "" where it is one."""
    try:
        expand("x", text, options=("a", "b"), seed=0)
    except SweeperError as error:
        return str(error)
    return ""


_OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">=": operator.ge,
}


Point: TypeAlias = dict[str, int | str]
Case: TypeAlias = tuple[list[dict[str, Any]], list[list[Point]]]


@st.composite
def _branches(draw: st.DrawFn) -> Case:
    """Some spaces as a file has them, each with its points by brute force."""
    values = st.lists(st.integers(-2, 2), min_size=1, max_size=3, unique=True)
    spaces, points = [], []
    for _ in range(draw(st.integers(1, 3))):
        names = draw(st.lists(st.sampled_from(["a", "b.c", "d.e"]), unique=True))
        space: dict[str, Any] = {name: draw(values) for name in names}
        expected: list[Point] = [
            dict(zip(space, chosen, strict=True))
            for chosen in itertools.product(*space.values())
        ]
        if names and draw(st.booleans()):
            symbol = draw(st.sampled_from(sorted(_OPERATORS)))
            left, number = draw(st.sampled_from(names)), draw(st.integers(-2, 2))
            inner = draw(values)
            holds = [_OPERATORS[symbol](p[left], number) for p in expected]
            if any(holds):
                condition = f"{left} {symbol} {number}"
                space["w"] = {"when": condition, "values": inner}
                expected = [
                    {**point, **({"w": value} if is_in else {})}
                    for point, is_in in zip(expected, holds, strict=True)
                    for value in (inner if is_in else [0])
                ]
        if draw(st.booleans()):
            space["pair"] = "zip(y=choice(1, 2), z=choice(3, 4))"
            pairs = ("y=1,z=3", "y=2,z=4")
            expected = [{**p, "pair": pair} for p in expected for pair in pairs]
        spaces.append(space)
        points.append(expected)
    return spaces, points


@given(
    case=_branches(),
    variants=st.lists(st.sampled_from("pqr"), unique=True),
    limit=st.integers(-2, 3),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_points_are_those_of_brute_force(
    case: Case, variants: list[str], limit: int
) -> None:
    spaces, branches = case
    names = {name for space in spaces for name in space}
    reads = [name for name in ("a", "w") if name in names]
    where = " and ".join(f"not ({name} >= {limit})" for name in reads)
    expected: list[Point] = []
    for points in branches:
        for point in points:
            for variant in variants or [""]:
                whole = {**point, "variant": variant} if variants else point
                read = [int(whole[name]) for name in reads if name in whole]
                if all(value < limit for value in read) and whole not in expected:
                    expected.append(whole)
    frozen = [
        {k: tuple(v) if isinstance(v, list) else v for k, v in space.items()}
        for space in spaces
    ]
    for space in frozen:
        if "w" in space:
            space["w"] = {**space["w"], "values": tuple(space["w"]["values"])}
    experiment = Experiment(
        name="x",
        search_space=tuple(frozen) if len(frozen) > 1 else frozen[0],
        variants=dict.fromkeys(variants, ()),
        where=where,
        objective={"metric": "acc"},
        search="random",
        path=Path("x.yaml"),
        lines={},
        project=Path(),
    )
    if not expected:
        with pytest.raises(ExperimentError, match="satisfies it"):
            parse(experiment, {})
        return
    parsed = parse(experiment, {})
    found = list(parsed.points())
    assert found == expected
    assert parsed.size == len(expected)
    for point in found:
        assert parsed.canonical(dict(reversed(point.items()))) == point
        inner, distributions = parsed.in_study(point)
        assert inner.keys() == distributions.keys()
        assert parsed.distributions_of(point).keys() == point.keys()


def test_a_condition_decides_which_parameters_a_point_has(make: Make) -> None:
    space = make(
        "search_space:\n"
        "  optim: [sgd, adam]\n"
        "  momentum: {when: optim == sgd, values: [0.0, 0.9]}\n"
        "  nesterov: {when: momentum > 0, values: [true, false]}\n"
        "where: momentum < 1"
    )
    assert list(space.points()) == [
        {"optim": "sgd", "momentum": 0.0},
        {"optim": "sgd", "momentum": 0.9, "nesterov": True},
        {"optim": "sgd", "momentum": 0.9, "nesterov": False},
        {"optim": "adam"},
    ]
    assert space.size == 4
    assert space.overrides({"optim": "adam"}) == ("optim=adam",)
    with pytest.raises(ConfigError, match="is a part of a point only where optim"):
        space.canonical({"optim": "adam", "momentum": 0.9})
    with pytest.raises(ConfigError, match="no value for 'nesterov'"):
        space.canonical({"optim": "sgd", "momentum": 0.9})


def test_equal_points_of_two_spaces_are_one(make: Make) -> None:
    space = make(
        "search_space:\n"
        "  - {a: [1, 2], b: [x]}\n"
        "  - {b: [x, y], a: [2.0, 3]}\n"
        "baseline: {a: 3, b: y}"
    )
    assert list(space.points()) == [
        *({"a": 1, "b": "x"}, {"a": 2, "b": "x"}),
        *({"b": "x", "a": 3}, {"b": "y", "a": 2}, {"b": "y", "a": 3}),
    ]
    assert space.baseline == {"a": 3, "b": "y"}
    assert space.overrides({"a": 3, "b": "y"}) == ("a=3", "b=y")
    assert space.in_study({"a": 2, "b": "x"})[0] == {"0#a": 2, "0#b": "x", "#": 0}
    with pytest.raises(ConfigError, match=r"in no space of the list: 1: .*; 2: "):
        space.canonical({"a": 1, "b": "y"})


def test_integers_beyond_the_floats_are_values_of_a_list_of_spaces(make: Make) -> None:
    huge = 10**400
    space = make(f"search_space: [{{a: [1, {huge}]}}, {{a: [{huge}], b: [1]}}]")
    assert [len(point) for point in space.points()] == [1, 1, 2]
    assert space.in_study({"a": huge, "b": 1})[0] == {"1#a": huge, "b": 1, "#": 1}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            "  a: {when: b > 1, values: [1]}\n  b: [1, 2]",
            2,
            "no parameter 'b' above it",
        ),
        ("  a: [1]\n  b: {when: a > 1, values: [2]}", 3, "'a > 1' holds for no point"),
        (
            "  a: [1]\n  b: {when: c > 1, values: [2]}",
            3,
            "no parameter 'c' above it; known: a",
        ),
        ("  a: [1]\n  b: {when: a >, values: [2]}", 3, "'a >' is not an expression"),
        ("  a: [x]\n  b: {when: a > 1, values: [2]}", 1, "'a > 1' fails for"),
        ("  a: [1]\n  b: {when: 3, values: [2]}", 3, "{when: a condition, values"),
        ("  a: [1]\n  b: {if: a > 1, values: [2]}", 3, "{when: a condition, values"),
        ("  a: [1]\n  b: {when: a > 0}", 3, "{when: a condition, values"),
        ("  - {a: [1]}\n  - {a: [1, 1]}", 3, "'a' lists 1, which equals 1"),
        ("  - {a: [1]}\n  - 3", 1, "a mapping of keys to values, or a list of such"),
        ("  []", 1, "search_space: an empty list"),
    ],
)
def test_a_wrong_condition_or_list_is_told_at_its_line(
    make: Make, text: str, line: int, message: str
) -> None:
    with pytest.raises(ExperimentError, match=re.escape(message)) as error:
        make(f"search_space:\n{text}")
    assert error.value.line == line


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("w > 1", True),
        ("not w > 1", True),
        ("a == 1 and w > 1", True),
        ("a == 2 and w > 1", False),
        ("a == 2 or w + 1 > 1", True),
        ("a == 1 or w > 1", False),
        ("0 < a < w", True),
        ("5 < a < w", False),
        ("a in (1, w)", True),
        ("-w < 3", True),
    ],
)
def test_what_a_missing_parameter_decides_is_unknown(
    text: str, *, unknown: bool
) -> None:
    where = parse_where(text, {"a": "a", "w": "w"})
    answers = {where.holds({"a": 1}, unknown=answer) for answer in (True, False)}
    assert (len(answers) == 2) is unknown


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("model == 'a' and n < 5", True),
        ("not model == 'a'", False),
        ("1 < n <= 3", True),
        ("3 < n <= 5", False),
        ("n in (1, 3) or model in ['b']", True),
        ("m.lr * 1000 >= 1", True),
        ("-n + 4 // 2 == n % 2 - 2", True),
        ("none == None", True),
        ("params['opt/lr'] == 'warm'", True),
        ("flag and n", True),
    ],
)
def test_a_condition_is_read_as_python_reads_it(text: str, *, holds: bool) -> None:
    point = {"model": "a", "n": 3, "m.lr": 1e-3, "none": None, "opt/lr": "warm"}
    where = parse_where(text, {name: name for name in (*point, "flag")})
    assert where.holds({**point, "flag": True}) is holds


@pytest.mark.parametrize(
    "text",
    [
        *("x ** 2", "f(x)", "x.__class__", "__import__('os')", "x if x else x"),
        *("[y for y in x]", "lambda: x", "x[0]", "(x := 1)", "x is None", "f'{x}'"),
        *("x >", "", "x; x", "(" * 500, "x\0", "b'a' == x", "1j"),
        *("{**x}", "*x", "x @ x", "x << 9", "~x", "'\\d' == x)", "x" * 3000),
    ],
)
def test_a_condition_with_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="where: "):
        parse_where(text, {"x": "x"}).holds({"x": 1})


def test_text_is_never_repeated_or_formatted_by_a_condition() -> None:
    for text in ("'a' * 999999999 == x", "'%s' % x", "x + 'a' == x"):
        with pytest.raises(ConfigError, match="is not a number"):
            parse_where(text, {"x": "x"}).holds({"x": 1})


def test_names_of_parameters_may_hold_what_python_names_may_not(make: Make) -> None:
    space = make(
        "search_space: {optim/lr: [warm, cold], +new: [1, 2]}\n"
        "where: params['optim/lr'] == 'warm' and new == 2"
    )
    assert list(space.points()) == [{"optim/lr": "warm", "+new": 2}]


def test_every_ascii_letter_is_a_bare_word() -> None:
    assert grammar.to_text(string.ascii_letters) == string.ascii_letters

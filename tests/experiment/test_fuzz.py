"""Experiment files with values that nobody expects: a message, never a traceback."""

import copy
import datetime
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeper.experiment import space
from sweeper.experiment.loading import dump, load
from sweeper.system.errors import SweeperError
from tests.sweeps import FULL

CONTENT = yaml.safe_load(FULL)
ODD = (
    *(None, True, 0, -1, 10**400, -(2**63), 2**32, 0.0, -0.0, 1e-320, 1.5),
    *(math.nan, math.inf, -math.inf, "", " ", "\t", "..", "../x", "/etc/passwd"),
    *("a/b", "a\\b", "con", "." * 300, "x" * 5000, "\u202e", "\0".strip("\0"), "~"),
    *([], [[]], {}, {"": 1}, {"a": {}}, [None], [1, "a", None], b"\xff\x00"),
    *(datetime.date(2026, 11, 24), "interval(1, 0)", "tag(log, interval(0, 1))"),
    *("range(0, 10**9)", "choice()", "glob(*)", "1,,2", "x=1", "${a}", "${env:HOME}"),
    *("interval(1e-400, 1e400)", "range(0, 1000000000000)", "'", '"', "{a", "a: b"),
)


def _places(node: object, place: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    found = [place] if place else []
    if isinstance(node, dict):
        for key, child in node.items():
            found += _places(child, (*place, key))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            found += _places(child, (*place, index))
    return found


# Lists where a file mostly has one: of spaces, one with a condition, and of objectives.
LISTS = {
    **CONTENT,
    "search_space": [
        {"kind": ["a", "b"], "x": {"when": "kind == b", "values": [1, 2]}},
        {"kind": "choice(a, c)", "y": "interval(0, 1)"},
    ],
    "objective": [{"metric": "acc", "mode": "max"}, {"metric": "size", "mode": "min"}],
    **{"baseline": {}, "where": "x > 0 or kind == a"},
}
PLACES = [(data, place) for data in (CONTENT, LISTS) for place in _places(data)]


@given(
    edits=st.lists(
        st.tuples(st.sampled_from(range(len(PLACES))), st.sampled_from(ODD)),
        min_size=1,
        max_size=3,
    )
)
@settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_an_odd_value_is_accepted_or_told(
    tmp_path: Path, edits: list[tuple[int, object]]
) -> None:
    data = copy.deepcopy(PLACES[edits[0][0]][0])
    for number, value in edits:
        _, place = PLACES[number]
        node = data
        for step in place[:-1]:
            if not isinstance(node, dict | list):
                break
            try:
                node = node[step]
            except (KeyError, IndexError, TypeError):
                break
        else:
            if isinstance(node, dict) or (
                isinstance(node, list)
                and isinstance(place[-1], int)
                and place[-1] < len(node)
            ):
                node[place[-1]] = value
    path = tmp_path / "exp.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    message = _outcome(path)
    assert not message or "exp.yaml" in message
    if not message:
        loaded = load(path)
        (tmp_path / "again.yaml").write_text(dump(loaded), encoding="utf-8")
        assert load(tmp_path / "again.yaml").name == loaded.name
        folder = (tmp_path / "sweeps" / loaded.name).resolve()
        assert folder.parent == (tmp_path / "sweeps").resolve()
    assert {p.name for p in tmp_path.iterdir()} <= {"exp.yaml", "again.yaml"}


def _outcome(path: Path) -> str:
    """The message for a file, "" where it is accepted."""
    try:
        space.parse(load(path), {"model": ("resnet18", "resnet50")})
    except SweeperError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["..", "../x", "/etc", "a/b", ".hidden", "a b", ""])
def test_a_name_never_leads_out_of_the_folder_of_sweeps(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "exp.yaml"
    path.write_text(yaml.safe_dump({**CONTENT, "name": name}))
    with pytest.raises(SweeperError, match="name"):
        load(path)

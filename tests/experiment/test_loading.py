"""An experiment file is read whole or refused with its line."""

import string
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeper.experiment import space, yaml_lines
from sweeper.experiment.definition import Experiment, changes, identity
from sweeper.experiment.loading import dump, load
from sweeper.system.errors import ExperimentError, SweeperError
from tests.sweeps import FULL, SMALLEST

Read = Callable[..., Experiment]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a text as exp.yaml of a project and load it."""
    (tmp_path / "pyproject.toml").touch()

    def run(text: str | bytes, *overrides: str) -> Experiment:
        path = tmp_path / "exp.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(path, overrides)

    return run


def test_a_file_needs_a_space_and_an_objective_only(read: Read, tmp_path: Path) -> None:
    experiment = read(SMALLEST)
    assert experiment.name == "exp"
    assert experiment.seeds == (42,)
    assert experiment.search == "grid"
    assert experiment.wandb.mode == "auto"
    assert experiment.project == tmp_path
    assert experiment.path == tmp_path / "exp.yaml"


def test_every_key_arrives(read: Read) -> None:
    experiment = read(FULL)
    assert experiment.budget.trials == 40
    assert experiment.resources.gpus == 0.25
    assert experiment.variants["smooth"] == (
        "transforms=strong",
        "model.label_smoothing=0.1",
    )
    assert experiment.baseline["model.learning_rate"] == 1e-3
    assert experiment.env == {"OMP_NUM_THREADS": "1", "MODE": "on"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("-1.5e+3", -1500.0),
        (".5", 0.5),
        ("12", 12),
        ("1_000", 1000),
        ("'1e-3'", "1e-3"),
        ("16:9", "16:9"),
        ("2024-01-01", "2024-01-01"),
        ("yes", True),
        ("~", None),
        ("e5", "e5"),
    ],
)
def test_scalars_are_what_hydras_configs_make_of_them(
    read: Read, text: str, value: object
) -> None:
    experiment = read(SMALLEST.replace("[1, 2]", f"[{text}]"))
    (read_value,) = experiment.search_space["x"]
    assert read_value == value
    assert type(read_value) is type(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400)),
        *(("1.5h", 5400), ("2m5s", 125), ("0.5", 0.5), ("null", None)),
    ],
)
def test_a_timeout_is_seconds_or_a_text_with_units(
    read: Read, text: str, seconds: float | None
) -> None:
    assert read(f"{SMALLEST}timeout: {text}\n").timeout == seconds


@pytest.mark.parametrize(
    ("added", "line", "message"),
    [
        ("sede: [1]", 3, "unknown key 'sede'; did you mean 'seeds'"),
        ("budget: {trails: 3}", 3, "budget: unknown key 'trails'; did you mean"),
        ("budget:\n  trials: 4\n  gpu_hors: 2", 5, "did you mean 'gpu_hours'?"),
        (
            "budget: {trials: true}",
            3,
            "budget.trials: true: Input should be a valid integer",
        ),
        (
            "budget: {trials: 0}",
            3,
            "budget.trials: 0: Input should be greater than or equal",
        ),
        (
            "budget: {gpu_hours: '3'}",
            3,
            "budget.gpu_hours: '3': Input should be a valid number",
        ),
        ("budget: 3", 3, "budget: 3: Input should be a valid dictionary or instance"),
        ("seeds: []", 3, "seeds: []: must be at least one seed"),
        ("seeds: [1, 1]", 3, "none of them twice; for example seeds: [42, 43, 44]"),
        ("seeds:\n- 1\n- 1.5", 5, "seeds.1: 1.5: Input should be a valid integer"),
        ("seeds: true", 3, "seeds: true: Input should be a valid integer"),
        ("seeds: [-1]", 3, "seeds.0: -1: Input should be greater than"),
        ("name: ../../etc", 3, "name: '../../etc': must be up to 100 letters"),
        ("name: .hidden", 3, "it names a folder"),
        ("name: 2024", 3, "name: 2024: Input should be a valid string"),
        ("name: ''", 3, "it names a folder"),
        ("target: train.py", 3, "target: 'train.py': must be module:function"),
        (
            "overrides: a=1",
            3,
            "overrides: 'a=1': Input should be a valid tuple; for example",
        ),
        ("overrides:\n- a=1\n- b: 1", 5, "overrides.1: {'b': 1}: Input should be a"),
        ("variants: {a: b}", 3, "variants.a: 'b': Input should be a valid tuple"),
        ("search: {seed: 1}", 3, "a name or a mapping with _target_"),
        ("resources: {gpus: 1.5}", 3, "auto, 0, a share of one GPU (0 to 1)"),
        (
            "resources: {gpus: some}",
            3,
            "gpus: 'some': Input should be a valid number or",
        ),
        ("resources: {cpus: 0}", 3, "resources.cpus: 0: Input should be greater than"),
        ("wandb: maybe", 3, "wandb: 'maybe': Input should be 'auto', 'online',"),
        ("wandb: {tags: a}", 3, "wandb.tags: 'a': Input should be a valid tuple"),
        ("env: {A: 1.5}", 3, "env.A: 1.5: Input should be a valid string"),
        ("env: {A B: x}", 3, "'A B' is not the name"),
        ("timeout: 10 days", 3, "timeout: '10 days': Input should be a valid number"),
        ("timeout: 0", 3, "timeout: 0: must be a positive duration"),
        ("timeout: m", 3, "timeout: 'm': Input should be a valid number"),
        ("path: /etc", 3, "unknown key 'path'"),
        ("lines: {}", 3, "unknown key 'lines'"),
        ("<<: {name: a}", 3, "unknown key '<<'"),
        ("project: 3", 3, "project: 3: Input is not a valid path"),
        ("chdir: 1", 3, "chdir: 1: Input should be a valid boolean"),
        (
            "objective: {metric: acc}",
            3,
            "duplicate key 'objective'; first defined on line 2",
        ),
    ],
)
def test_a_wrong_value_is_told_with_its_line_and_the_rule(
    read: Read, added: str, line: int, message: str
) -> None:
    with pytest.raises(ExperimentError) as caught:
        read(f"{SMALLEST}{added}\n")
    assert caught.value.line == line, caught.value
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{caught.value.path}:{line}: ")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (b"", 0, "the file is empty; it needs at least search_space"),
        (b"# nothing\n", 0, "the file is empty"),
        (b"- a\n", 0, "the file is not a mapping"),
        (b"name: a\n\tnotes: b\n", 2, r"found character '\t' that cannot start"),
        (b"name: a\x00\n", 1, "character 0x0 is not allowed"),
        (b"name: a\nnotes: \xff\n", 2, "byte 0xff is not UTF-8"),
        (b"name: a\nname: b\n", 2, "duplicate key 'name'; first defined on line 1"),
        (b"a: b: c\n", 1, "mapping values are not allowed here"),
        (b"name: 'a\nnotes: b\n", 1, "not valid YAML"),
        (b"name: a\nseeds: [1,\n", 2, "not valid YAML"),
        (b"a: 1\n---\nb: 1\n", 2, "but found another document"),
        (b"search_space: &a\n  x: *a\n", 1, "nested more than 32 deep"),
        (b"x: *nothing\n", 1, "undefined alias"),
        (b"1: a\n", 1, "key 1 is not text; put it in quotes"),
        (b"? [a]\n: b\n", 1, "key ['a'] is not text"),
        (b"notes: !!python/name:os.system x\n", 1, "is not allowed; remove it"),
        (b"notes: !!set {a}\n", 1, "is not allowed"),
        (b"seeds: !!int x\n", 1, "'x' is not a valid integer"),
        (b"seeds: [.nan]\n", 1, "'.nan' is not a finite number"),
        (b"seeds: 1e999\n", 1, "'1e999' is not a finite number"),
        (b"seeds: " + b"1" * 5000, 1, "is not a valid integer"),
        (b"seeds: " + b"[" * 5000, 0, "nested too deep"),
        (b"a: " + b"{a: " * 5000, 0, "nested too deep"),
    ],
)
def test_what_is_no_yaml_of_ours_is_refused(
    read: Read, text: bytes, line: int, message: str
) -> None:
    with pytest.raises(ExperimentError) as caught:
        read(text)
    assert caught.value.line == line, caught.value
    assert message in str(caught.value)
    first, *rest = str(caught.value).splitlines()
    assert message in first
    assert not rest or (len(rest) == 2 and rest[1].strip() == "^")


def test_a_small_alias_is_allowed(read: Read) -> None:
    text = "search_space: {x: &v [1, 2], y: *v}\nobjective: {metric: acc}\n"
    assert read(text).search_space == {"x": (1, 2), "y": (1, 2)}


def test_every_problem_is_listed_the_first_line_first(read: Read) -> None:
    with pytest.raises(ExperimentError) as caught:
        read("objectiv: {metric: acc}\nseeds: []\nsearch_space: {x: [1]}\n")
    lines = str(caught.value).splitlines()
    place = str(caught.value.path)
    assert caught.value.line == 1
    assert lines[0].startswith(f"{place}:1: unknown key 'objectiv'; did you mean")
    assert lines[1].startswith(f"{place}:2: seeds")
    assert lines[2] == (
        f"{place}: objective: missing; for example objective: "
        "{metric: val/acc_top1, mode: max}"
    )


def test_a_missing_inner_key_has_the_line_of_its_mapping(read: Read) -> None:
    with pytest.raises(ExperimentError, match=r"objective\.metric: missing") as caught:
        read("search_space: {}\n\nobjective:\n  mode: max\n")
    assert caught.value.line == 3


def test_an_error_of_another_module_finds_its_line(read: Read) -> None:
    experiment = read(FULL)
    place = ("search_space", "model.learning_rate", "anything", 3)
    assert experiment.error(place, "x").line == 8
    assert experiment.error(("variants", "smooth", 1), "x").line == 13
    assert experiment.error(("nothing",), "x").line == 0
    assert experiment.error((), "x").line == 0


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ExperimentError, match=r"no\.yaml: cannot be read: No such file"
    ):
        load(tmp_path / "no.yaml")
    with pytest.raises(ExperimentError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_a_file_whose_name_is_no_folder_name_needs_a_name(tmp_path: Path) -> None:
    path = tmp_path / "my sweep.yaml"
    path.write_text(SMALLEST)
    with pytest.raises(ExperimentError, match="name: 'my sweep': must be"):
        load(path)
    assert load(path, ["name=mine"]).name == "mine"


@pytest.mark.parametrize("value", ["none", "off", "null", "false", "{mode: none}"])
def test_wandb_is_turned_off_by_any_word_for_it(read: Read, value: str) -> None:
    assert read(f"{SMALLEST}wandb: {value}\n").wandb.mode == "none"


def test_the_project_may_be_another_folder(read: Read, tmp_path: Path) -> None:
    assert read(f"{SMALLEST}project: sub\n").project == tmp_path / "sub"


@pytest.mark.parametrize(
    ("word", "name", "value"),
    [
        ("name=other", "name", "other"),
        ("name=2024", "name", "2024"),
        ("notes=a: [b", "notes", "a: [b"),
        ("where=x == 'a: b'", "where", "x == 'a: b'"),
        ("seeds=[1, 2]", "seeds", (1, 2)),
        ("seeds=7", "seeds", (7,)),
        ("budget.trials=4", "budget.trials", 4),
        ("resources.gpus=0.5", "resources.gpus", 0.5),
        ("wandb=none", "wandb.mode", "none"),
        ("wandb.mode=offline", "wandb.mode", "offline"),
        ("search=tpe", "search", "tpe"),
        ("objective.mode=min", "objective.mode", "min"),
        ("env.A=1", "env", {"A": "1"}),
        ("search_space.m.lr=1e-3, 1e-2", "search_space.m.lr", "1e-3, 1e-2"),
        ("search_space.x=[[1], 2]", "search_space.x", ((1,), 2)),
        ("search_space.x=[1],[2]", "search_space.x", "[1],[2]"),
        ("baseline.m.lr=1e-3", "baseline", {"m.lr": 1e-3}),
        ("variants.a=[b=1]", "variants", {"a": ("b=1",)}),
        ("trainer.max_epochs=3", "overrides", ("trainer.max_epochs=3",)),
        ("+new=1", "overrides", ("+new=1",)),
        ("~old", "overrides", ("~old",)),
        ("model=large", "overrides", ("model=large",)),
    ],
)
def test_a_word_of_the_command_line_sets_a_key_or_is_an_override(
    read: Read, word: str, name: str, value: object
) -> None:
    found: object = read(SMALLEST, word)
    head, *rest = name.split(".", 1)
    found = getattr(found, head)
    if rest:
        found = found[rest[0]] if isinstance(found, dict) else getattr(found, rest[0])
    assert found == value


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("seeds=[1", "'seeds=[1': the value is not valid YAML"),
        ("seeds=[1, 1]", "seeds: [1, 1]: must be"),
        ("budget.trails=1", "budget: unknown key 'trails'; did you mean 'trials'?"),
        ("budget.trials=x", "budget.trials: 'x': Input should be a valid integer"),
        ("objective.metric.x=1", "objective.metric is 'acc', which has no keys"),
        ("search.seed=1", "search: {'seed': 1}: must be a name or a mapping"),
        ("budget", "'budget' has no value; write budget=..."),
        ("words", "'words' is not key=value"),
        ("name=a/b", "name: 'a/b': must be"),
    ],
)
def test_a_wrong_word_of_the_command_line_is_told_as_such(
    read: Read, word: str, message: str
) -> None:
    with pytest.raises(ExperimentError) as caught:
        read(SMALLEST, word)
    assert str(caught.value).startswith("command line: ")
    assert message in str(caught.value)


def test_the_last_word_for_a_key_wins(read: Read) -> None:
    experiment = read(FULL, "budget.trials=4", "seeds=[1]", "budget.trials=5")
    assert experiment.budget.trials == 5
    assert experiment.seeds == (1,)
    assert str(experiment.error(("seeds", 0), "x")) == "command line: x"


@pytest.mark.parametrize("text", [SMALLEST, FULL, f"{SMALLEST}project: sub/deep\n"])
def test_a_dump_is_read_back_as_the_same_experiment(
    read: Read, tmp_path: Path, text: str
) -> None:
    experiment = read(text)
    copy = tmp_path / "sweeps" / "x" / "experiment.yaml"
    copy.parent.mkdir(parents=True)
    copy.write_text(dump(experiment))
    assert load(copy).model_dump() == experiment.model_dump()
    assert changes(load(copy), experiment) == ()


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]))
    | st.sampled_from(["1e-3", "null", "yes", "0x1f", "- a", "a: b", "*x", "=", "<<"])
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(string.ascii_letters, min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(data=st.dictionaries(st.sampled_from(["a", "b.c", "on", "1"]), _VALUES))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_yaml_text_is_read_back_with_the_same_types(data: dict[str, object]) -> None:
    text = yaml_lines.to_yaml(data)
    assert repr(yaml_lines.parse(text, Path("x.yaml")).data) == repr(data)


def test_only_what_makes_values_incomparable_counts_as_a_change(read: Read) -> None:
    old = read(FULL)
    same = read(FULL, "budget.trials=80", "seeds=[1]", "name=z", "scheduler=none")
    assert changes(old, same) == ()
    assert identity(old) == identity(same)
    new = read(FULL, "objective.mode=min", "config=./conf/other.yaml", "seed=1")
    assert changes(old, new) == (
        "config: 'conf/train.yaml' -> 'conf/other.yaml'",
        "objective.mode: 'max' -> 'min'",
        "overrides: + seed=1",
    )
    assert changes(new, old)[-1] == "overrides: - seed=1"


_SNIPPETS = (
    *("\t", "\0", "&a ", "*a", "!!int ", "<<: ", ": ", "- ", "[", "]", "{", "}", "'"),
    *(
        '"',
        "#",
        "|",
        ">",
        "%",
        "@",
        "`",
        "\n",
        "  ",
        "é",
        "\ufeff",
        "\u2028",
        "..",
        "/",
    ),
    *("null", "true", ".nan", "1e999", "-1", "0", "99999999999999999999", "[]", "{}"),
    *(
        "interval(0, 1)",
        "tag(log, interval(0, 1))",
        "range(1, 1)",
        "choice()",
        "glob(*)",
    ),
    *("((((", "a ** a", "__import__('os')", "variant", "seed", "~x", "x=1,2", "''"),
)


@given(
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(_SNIPPETS)),
        min_size=1,
        max_size=4,
    )
)
@settings(
    max_examples=120,
    deadline=2000,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_mangled_file_never_ends_in_a_traceback(
    read: Read, edits: list[tuple[float, int, str]]
) -> None:
    text = FULL
    for where, length, snippet in edits:
        start = int(where * len(text))
        text = text[:start] + snippet + text[start + length :]
    outcome = _outcome(read, text)
    assert not outcome or "exp.yaml" in outcome


def _outcome(read: Read, text: str) -> str:
    """The message for a text, "" where it is accepted."""
    try:
        space.parse(read(text), {"model": ("resnet18", "resnet50")})
    except SweeperError as error:
        return str(error)
    return ""

"""Which module imports which; the table of modules in docs/architecture.md."""

import ast
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import module_table

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sweeper"
PAGE = ROOT / "docs" / "architecture.md"
HEAVY = {"torch", "lightning", "pytorch_lightning", "torchvision", "torchmetrics"}
# Packages, and modules that are in none, each after those that it may import.
LAYERS = [
    "exit_codes",
    "system",
    "protocol",
    "trial",
    "compat",
    "experiment",
    "journal.record",
    "journal.journal_file",
    "journal.study",
    "project",
    "statistics",
    "search",
    "packing",
    "journal",
    "plan",
    "reporting",
    "driver",
    "commands",
    "cli",
]
IMPORTS_TORCH = ["trial", "driver.training"]
IMPORTS_RAY = [
    "compat.ray",
    "driver.cluster",
    "driver.journal_service",
    "driver.ray_worker",
    "driver.placement",
]


def _modules() -> dict[str, Path]:
    """Return the modules below the package, `vision` apart, by dotted name."""
    paths = (path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py")))
    named = {".".join(path.with_suffix("").parts): PACKAGE / path for path in paths}
    return {
        name.removesuffix(".__init__"): path
        for name, path in named.items()
        if name not in {"__init__", "__main__"} and not name.startswith("vision")
    }


def _layer(module: str) -> int:
    """Return the position in LAYERS of a module, else of the package that has it."""
    names = [name for name in LAYERS if f"{module}.".startswith(f"{name}.")]
    return LAYERS.index(max(names, key=len))


def _is_in(module: str, names: Sequence[str]) -> bool:
    return module in names or module.split(".")[0] in names


def _imports(path: Path, *, top_only: bool = False) -> set[str]:
    """Dotted names that a file imports, but for those under TYPE_CHECKING."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        is_late = isinstance(node, ast.FunctionDef) and top_only
        if is_late or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node)):
            skipped.update(ast.walk(node))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


TRIAL_HALF = [
    name for name in sorted(_modules()) if _is_in(name, ["system", "protocol", "trial"])
]


def test_the_table_of_modules_is_current() -> None:
    assert module_table.table() in PAGE.read_text(), "run: make docs"


@pytest.mark.parametrize("module", sorted(_modules()))
def test_a_module_imports_from_layers_below_its_own(module: str) -> None:
    for name in _imports(_modules()[module]):
        root, _, imported = name.partition(".")
        if root == "sweeper" and imported:
            assert _layer(imported) <= _layer(module), f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(_modules()))
def test_torch_and_ray_are_imported_by_the_named_modules_only(module: str) -> None:
    roots = {name.split(".")[0] for name in _imports(_modules()[module], top_only=True)}
    assert _is_in(module, IMPORTS_TORCH) or not roots & HEAVY
    assert _is_in(module, IMPORTS_RAY) or "ray" not in roots


@pytest.mark.parametrize("module", TRIAL_HALF)
def test_the_trial_half_imports_the_standard_library_only(module: str) -> None:
    roots = {name.split(".")[0] for name in _imports(_modules()[module], top_only=True)}
    assert roots <= {*sys.stdlib_module_names, "sweeper"}


def test_no_name_of_a_package_is_replaced_by_its_own_submodule() -> None:
    """An import of `package.name` sets `name` in the package, whatever it was."""
    for init in PACKAGE.rglob("__init__.py"):
        package = ".".join(init.parent.relative_to(ROOT).parts)
        submodules = {path.stem for path in init.parent.iterdir()}
        for node in ast.walk(ast.parse(init.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module != package:
                names = {alias.asname or alias.name for alias in node.names}
                assert not names & submodules, f"{init}: {names & submodules}"


def test_vision_imports_nothing_of_sweeper() -> None:
    for path in (PACKAGE / "vision").rglob("*.py"):
        for name in _imports(path):
            if name.startswith("sweeper"):
                assert name.startswith("sweeper.vision"), f"{path} imports {name}"


def test_rows_of_optuna_are_known_to_the_journal_and_one_adapter_only() -> None:
    allowed = {"compat.optuna", "journal.study", "search.history", "search.schedulers"}
    for module, path in _modules().items():
        text = path.read_text()
        assert module in allowed or not re.search(r"FrozenTrial|user_attrs", text), path


def test_nothing_is_pickled_or_evaluated() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec"}, path
            if isinstance(node, ast.keyword) and node.arg == "shell":
                raise AssertionError(f"{path} uses shell=")
        names = _imports(path) - {"pickle.UnpicklingError"}  # torch raises it
        roots = {name.split(".")[0] for name in names}
        assert not roots & {"pickle", "cloudpickle", "dill"}, path

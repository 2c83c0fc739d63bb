"""The module table of docs/architecture.md is what the code is."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sweeper"
ROW = re.compile(r"^\| (\w+) \| (\w*) ?\| (\([TR]\) )?", re.MULTILINE)
EDGES = {"__init__", "__main__"}  # the public names and `python -m`
WHOLE = {"callbacks", "commands", "html_report"}  # one row each
HEAVY = {"torch", "lightning", "pytorch_lightning", "torchvision", "torchmetrics"}


def _table() -> dict[str, str]:
    """Module to mark, from the first package to the last."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    _, _, rows = text.partition("| package | module |")
    return {
        f"{package}.{module}".strip("."): mark.strip()
        for package, module, mark in ROW.findall(rows)
    }


def _order() -> list[str]:
    """Packages, and modules that are in none, each after those that it may use."""
    return list(dict.fromkeys(name.split(".")[0] for name in _table()))


def _modules() -> dict[str, list[Path]]:
    """Modules and whole subpackages of sweeper with their files, `vision` apart."""
    modules: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        *folders, name = path.relative_to(PACKAGE).with_suffix("").parts
        if folders[:1] == ["vision"] or (name in EDGES - WHOLE and not folders):
            continue
        if folders and folders[0] in WHOLE:
            modules.setdefault(folders[0], []).append(path)
        elif name != "__init__":
            modules[".".join([*folders, name])] = [path]
    return modules


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


def test_every_module_stands_in_the_table() -> None:
    assert set(_table()) == set(_modules())


@pytest.mark.parametrize("module", sorted(_modules()))
def test_a_module_imports_from_packages_above_its_own(module: str) -> None:
    order = _order()
    own = order.index(module.split(".")[0])
    for path in _modules()[module]:
        for name in _imports(path):
            parts = name.split(".")
            if parts[0] == "sweeper" and len(parts) > 1:
                assert parts[1] in order[: own + 1], f"{path} imports {name}"


@pytest.mark.parametrize("module", sorted(_modules()))
def test_heavy_packages_are_imported_where_the_table_says(module: str) -> None:
    mark = _table()[module]
    for path in _modules()[module]:
        roots = {name.split(".")[0] for name in _imports(path, top_only=True)}
        assert mark == "(T)" or not roots & HEAVY, path
        assert mark == "(R)" or "ray" not in roots, path


def test_vision_imports_nothing_of_sweeper() -> None:
    for path in (PACKAGE / "vision").rglob("*.py"):
        for name in _imports(path):
            if name.startswith("sweeper"):
                assert name.startswith("sweeper.vision"), f"{path} imports {name}"


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

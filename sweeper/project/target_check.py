"""Whether a target exists, found in files: nothing of the project is imported."""

import ast
import importlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path

from sweeper.errors import TargetError, nearest
from sweeper.host.sources import is_program, roots

_BINDING = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    *(ast.Import, ast.ImportFrom),
)
_DYNAMIC = {"globals", "setattr", "exec"}  # calls that bind names nobody can read


def check(target: str, project: Path) -> None:
    """Refuse a target whose file, module or function does not exist.

    What only an import can tell, a missing package of the project for one, is left to
    the first process that imports the target.

    Raises:
        TargetError: names what is missing and what is near it.
    """
    importlib.invalidate_caches()  # a file may be younger than what Python has listed
    if is_program(target):
        _check_program(target, project)
        return
    module, _, function = target.partition(":")
    file = _module_file(target, module, project)
    if file is None or file.suffix != ".py":
        return
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", 0)
        raise TargetError(
            f"target: {target!r}: {file}:{line}: no Python of this version: {error}"
        ) from error
    names = set(_bound(tree.body))
    if function not in names and not _is_dynamic(tree, names):
        functions = [n.name for n in tree.body if isinstance(n, ast.FunctionDef)]
        raise TargetError(
            f"target: {target!r}: {module} has no function {function!r}; "
            f"{nearest(function, functions)}"
        )


def _check_program(target: str, project: Path) -> None:
    first, *rest = shlex.split(target)
    is_python = Path(first).name.startswith("python")
    if is_python and "-m" in rest[:-1]:
        _module_file(target, rest[rest.index("-m") + 1], project)
        return
    if not is_python and not (project / first).exists() and not shutil.which(first):
        raise TargetError(
            f"target: {target!r}: there is no program {first!r}; install it, or name "
            "its file"
        )
    scripts = [word for word in rest if word.endswith(".py")] if is_python else []
    if scripts and not (project / scripts[0]).is_file():
        beside = [str(f.relative_to(project)) for f in project.glob("*.py")]
        raise TargetError(
            f"target: {target!r}: {project / scripts[0]} does not exist; "
            f"{nearest(scripts[0], beside)}"
        )


def _module_file(target: str, module: str, project: Path) -> Path | None:
    """The file of a module; None where it has none, as a built-in one."""
    extra = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    search: Sequence[str] = [*map(str, roots(project)), *extra, *sys.path]
    parts = module.split(".")
    spec = None
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        spec = _spec(name, search, is_top=depth == 1)
        if spec is None:
            folder = search if depth > 1 else search[:1]
            beside = [entry.stem for f in folder for entry in Path(f).glob("*.py")]
            raise TargetError(
                f"target: {target!r}: cannot import {name!r}; "
                f"{nearest(parts[depth - 1], beside)}; the module must be importable "
                "from the project's folder (project: PATH) and its packages "
                "installed here"
            )
        search = list(spec.submodule_search_locations or ())
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    return Path(spec.origin)


def _spec(name: str, search: Sequence[str], *, is_top: bool) -> ModuleSpec | None:
    """Where Python would find a module whose package lies in `search`."""
    for finder in sys.meta_path:
        places = [search, None] if is_top else [search]  # None: built-in, frozen
        for place in places:
            found = finder.find_spec(name, place)
            if found is not None:
                return found
    return None


def _bound(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Names that statements of a module bind, those within if, try and with too."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((a.asname or a.name).partition(".")[0] for a in node.names)
            continue
        inside = list(ast.walk(node))[1:]
        names = (inner for inner in inside if isinstance(inner, ast.Name))
        yield from (name.id for name in names if isinstance(name.ctx, ast.Store))
        yield from _bound([inner for inner in inside if isinstance(inner, _BINDING)])


def _is_dynamic(tree: ast.Module, names: set[str]) -> bool:
    """Whether a module may have names that its text does not show."""
    return bool({"*", "__getattr__"} & names) or any(
        isinstance(node, ast.Name) and node.id in _DYNAMIC for node in ast.walk(tree)
    )

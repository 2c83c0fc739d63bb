"""Source files of a project's target, which are read and never imported."""

import ast
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_FILES = 500


def is_program(target: str) -> bool:
    """Return whether a target is a program with its arguments, not module:function.

    >>> is_program("python train.py"), is_program("my_project.train:main")
    (True, False)
    """
    return len(shlex.split(target)) > 1


def roots(project: Path) -> tuple[Path, ...]:
    """Return the folders of a project's modules: the project, then its `src`."""
    source = project / "src"
    return (project, source) if source.is_dir() else (project,)


def put_on_path(project: Path) -> None:
    """Put the folders of a project's modules on the path of this process.

    Those of a `src` folder come last: a package of the same name that is installed
    would be hidden in the project's own processes only.
    """
    first, *last = map(str, roots(project))
    if first not in sys.path:
        sys.path.insert(0, first)
    sys.path.extend(root for root in last if root not in sys.path)


def entry(target: str, project: Path) -> Path | None:
    """Return the source file of a target, None if the project does not have it."""
    if not is_program(target):
        return _project_file(target.partition(":")[0], project)
    words = shlex.split(target)
    if "-m" in words[:-1]:
        return _project_file(words[words.index("-m") + 1], project)
    script = next((word for word in words if word.endswith(".py")), "")
    return project / script if script and (project / script).is_file() else None


def reached(target: str, project: Path) -> dict[Path, ast.Module]:
    """Return the target's file and all files that it imports, parsed.

    A file that this version of Python cannot parse is left out.
    """
    first = entry(target, project)
    trees: dict[Path, ast.Module] = {}
    waiting = [first] if first is not None else []
    while waiting and len(trees) < MAX_FILES:
        file = waiting.pop()
        if file in trees:
            continue
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, OSError):
            continue
        trees[file] = tree
        for name in _imported(tree, file, project):
            # A name that is imported may be a module or something in it.
            for part in (name, name.rpartition(".")[0]):
                waiting += [
                    imported
                    for root in (*roots(project), file.parent)
                    if (imported := _module_file(part, root)) is not None
                ]
    return trees


def mentions(trees: dict[Path, ast.Module], *names: str) -> bool:
    """Return whether one of the files uses one of the names, or imports a dotted one.

    The module behind `sweeper.vision.register` stores nothing until it is called.
    """
    return any(
        (isinstance(node, ast.Name) and node.id in names)
        or (isinstance(node, ast.Attribute) and node.attr in names)
        or (
            isinstance(node, ast.ImportFrom)
            and any(f"{node.module}.{alias.name}" in names for alias in node.names)
        )
        for path, tree in trees.items()
        if path.parts[-3:] != ("sweeper", "vision", "registry.py")
        for node in ast.walk(tree)
    )


def _project_file(name: str, project: Path) -> Path | None:
    files = (_module_file(name, root) for root in roots(project))
    return next((file for file in files if file is not None), None)


def _module_file(name: str, root: Path) -> Path | None:
    if not name:
        return None
    base = root / name.replace(".", "/")
    for file in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
        if file.is_file():
            return file.resolve()
    return None


def _imported(tree: ast.Module, file: Path, project: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ""
            if node.level:
                folder = file.parents[node.level - 1]
                if not folder.is_relative_to(project.resolve()):
                    continue
                package = ".".join(folder.relative_to(project.resolve()).parts)
            parent = ".".join(part for part in (package, node.module) if part)
            yield parent
            yield from (f"{parent}.{alias.name}" for alias in node.names)

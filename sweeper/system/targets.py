"""The targets of a project: their source files, and functions under `@hydra.main`.

Files are parsed and never imported. Errors that only an import can show, such as a
missing package, appear in the first process that imports the target.
"""

import ast
import importlib
import os
import re
import shlex
import shutil
import symtable
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.system.errors import TargetError, nearest

MAX_FILES = 500  # files of a target's imports
FOLDERS = ("conf", "configs", "config", ".")  # usual folders of a primary config
PACKAGE = "pkg://"
OLDEST = "1.1"  # Hydra's default if a main has no version_base
_ARGUMENTS = ("config_path", "config_name", "version_base")  # of @hydra.main, in order
_DYNAMIC = re.compile(r"import \*|__getattr__|\b(globals|setattr|exec)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Main:
    """A function under @hydra.main, or a call of hydra-zen's `hydra_main`.

    Attributes:
        target: module:function; for a call of hydra-zen, a program as a YAML list.
        config: path relative to the project; only a name if the config is not a file.
        folder: Hydra's search path, absolute; "" if it is unknown.
        name: name of the primary config in that folder; it may contain slashes.
        version_base: Hydra version whose defaults apply; "" for the installed one.
    """

    target: str
    config: str
    folder: str = ""
    name: str = ""
    version_base: str = ""


def is_program(target: str) -> bool:
    """Return whether a target is a program with arguments, not module:function.

    >>> is_program("python train.py"), is_program("my_project.train:main")
    (True, False)
    """
    return len(shlex.split(target)) > 1


def split_program(target: str) -> tuple[str, list[str]]:
    """Return the module or script that a program starts, and its arguments.

    >>> split_program("python -m pack.train lr=1"), split_program("bash run.sh lr=1")
    (('pack.train', ['lr=1']), ('bash', []))
    """
    words = shlex.split(target)
    if "-m" in words[:-1]:
        index = words.index("-m") + 1
    else:
        scripts = (i for i, word in enumerate(words) if word.endswith(".py"))
        index = next(scripts, -1)
    return (words[index], words[index + 1 :]) if index >= 0 else (words[0], [])


def task_name(target: str) -> str:
    """Return Hydra's default for `hydra.job.name`.

    >>> task_name("my_project.train:main"), task_name("python scripts/fit.py --fast")
    ('train', 'fit')
    """
    name = split_program(target)[0] if is_program(target) else target.partition(":")[0]
    path = Path(name)
    return path.stem if path.suffix == ".py" else path.name.rpartition(".")[2]


def roots(project: Path) -> tuple[Path, ...]:
    """Return the folders of a project's modules: the project, then its `src`."""
    source = project / "src"
    return (project, source) if source.is_dir() else (project,)


def put_on_path(project: Path) -> None:
    """Put the folders of a project's modules on the path of this process.

    A `src` folder comes last. Otherwise it would hide an installed package of the same
    name, but only in this process.
    """
    first, *last = map(str, roots(project))
    if first not in sys.path:
        sys.path.insert(0, first)
    sys.path.extend(root for root in last if root not in sys.path)


def entry(target: str, project: Path) -> Path | None:
    """Return the source file of a target; None if it is not in the project."""
    if not is_program(target):
        return _project_file(target.partition(":")[0], project)
    name, _ = split_program(target)
    if name.endswith(".py"):
        return project / name if (project / name).is_file() else None
    return _project_file(name, project)


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
            # An imported name may be a module or an object in a module.
            for part in (name, name.rpartition(".")[0]):
                waiting += [
                    imported
                    for root in (*roots(project), file.parent)
                    if (imported := _file_of(part, root)) is not None
                ]
    return trees


def mentions(trees: dict[Path, ast.Module], *names: str) -> bool:
    """Return whether any file uses one of the names, or imports a dotted one.

    `sweeper/vision/registry.py` is left out: it registers nothing until it is called.
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
    files = (_file_of(name, root) for root in roots(project))
    return next((file for file in files if file is not None), None)


def _file_of(name: str, root: Path) -> Path | None:
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


# ---- functions under @hydra.main


def find_mains(trees: Mapping[Path, ast.Module], project: Path) -> Iterator[Main]:
    """Yield every entry point of Hydra in a project."""
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and _is_hydra(mark):
                        target = f"{_module(path, project)}:{node.name}"
                        yield _main(target, path, _arguments(mark, tree), project)
            elif isinstance(node, ast.Call) and _is_zen(node):
                arguments = _arguments(node, tree)
                name = arguments.get("config_name") or "config"
                yield Main(
                    target=f"[python, -m, {_module(path, project)}]",
                    config=name,
                    name=name,
                    version_base=arguments.get("version_base", OLDEST) or "",
                )


def _is_hydra(mark: ast.Call) -> bool:
    return ast.unparse(mark.func) in ("hydra.main", "main")


def _is_zen(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "hydra_main"


def _module(path: Path, project: Path) -> str:
    if not path.is_relative_to(project):
        path, project = path.resolve(), project.resolve()
    parts = path.relative_to(project).with_suffix("").parts
    is_layout = parts[0] == "src" and not (project / "src" / "__init__.py").exists()
    # An installed package below `src` is named without the prefix "src.".
    is_package = is_layout and len(parts) > 2 and (path.parent / "__init__.py").exists()
    return ".".join(parts[1:] if is_package else parts)


def _arguments(call: ast.Call, tree: ast.Module) -> dict[str, str | None]:
    """Return the arguments that are a text or None, also those of a `**CONSTANT`."""
    nodes: dict[str, ast.expr] = dict(zip(_ARGUMENTS, call.args, strict=False))
    for word in call.keywords:
        if word.arg:
            nodes[word.arg] = word.value
        elif isinstance(word.value, ast.Name):
            nodes |= _constant(word.value.id, tree)
    texts = {
        key: node.value
        for key, node in nodes.items()
        if isinstance(node, ast.Constant)
        and (node.value is None or isinstance(node.value, str))
    }
    if "version_base" in nodes:
        texts.setdefault("version_base", None)  # computed
    return texts


def _constant(name: str, tree: ast.Module) -> dict[str, ast.expr]:
    """Return the mapping that a module assigns to `name`."""
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Dict)
            and name in [t.id for t in node.targets if isinstance(t, ast.Name)]
        ):
            pairs = zip(node.value.keys, node.value.values, strict=True)
            return {str(k.value): v for k, v in pairs if isinstance(k, ast.Constant)}
    return {}


def _main(
    target: str, path: Path, arguments: Mapping[str, str | None], project: Path
) -> Main:
    name = (arguments.get("config_name") or "config").removesuffix(".yaml")
    config_path = arguments.get("config_path") or ""
    file = f"{name}.yaml"
    if config_path.startswith(PACKAGE):
        package = config_path.removeprefix(PACKAGE).replace(".", "/")
        folders = [root / package for root in roots(project)]
    elif "config_path" in arguments or (path.parent / file).is_file():
        folders = [path.parent / config_path]
    else:  # a computed path
        folders = [project / name for name in FOLDERS]
        folders = [folder for folder in folders if (folder / file).is_file()]
    folder = next((f.resolve() for f in folders if f.is_dir()), None)
    if folder is None and config_path.startswith(PACKAGE):
        config = f"{config_path}/{name}"
    else:
        primary, root = (folder or path.resolve().parent) / file, project.resolve()
        is_inside = primary.is_relative_to(root)
        config = str(primary.relative_to(root) if is_inside else primary)
    return Main(
        target=target,
        config=config,
        folder=str(folder or ""),
        name=name,
        version_base=arguments.get("version_base", OLDEST) or "",
    )


# ---- check that a target exists


def check(target: str, project: Path) -> None:
    """Refuse a target whose program, file, module or function does not exist.

    Raises:
        TargetError: with the missing part and the nearest existing name.
    """
    importlib.invalidate_caches()  # Python caches the lists of files
    if is_program(target):
        _check_program(target, project)
        return
    module, _, function = target.partition(":")
    file = _module_file(target, module, project)
    if file is None or file.suffix != ".py":
        return
    try:
        text = file.read_text(encoding="utf-8")
        table = symtable.symtable(text, str(file), "exec")
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", 0)
        raise TargetError(
            f"target: {target!r}: {file}:{line}: not valid in this version of Python: "
            f"{error}; fix the line, or run sweeper with the project's Python"
        ) from error
    names = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_assigned() or symbol.is_imported()
    }
    if function not in names and not _DYNAMIC.search(text):
        functions = [
            block.get_name()
            for block in table.get_children()
            if block.get_type() == "function"
        ]
        raise TargetError(
            f"target: {target!r}: {module} has no function {function!r}; "
            f"{nearest(function, functions)}"
        )


def _check_program(target: str, project: Path) -> None:
    first, *rest = shlex.split(target)
    name, _ = split_program(target)
    if not Path(first).name.startswith("python"):
        if not (project / first).exists() and not shutil.which(first):
            raise TargetError(
                f"target: {target!r}: there is no program {first!r}; install it, or "
                "name its file"
            )
    elif "-m" in rest[:-1]:
        _module_file(target, name, project)
    elif name.endswith(".py") and not (project / name).is_file():
        beside = [str(file.relative_to(project)) for file in project.glob("*.py")]
        raise TargetError(
            f"target: {target!r}: {project / name} does not exist; "
            f"{nearest(name, beside)}"
        )


def _module_file(target: str, module: str, project: Path) -> Path | None:
    """Return the file of a module; None for a built-in module."""
    extra = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    folders: Sequence[str] = [*map(str, roots(project)), *extra, *sys.path]
    parts = module.split(".")
    spec = None
    for depth, part in enumerate(parts, start=1):
        name = ".".join(parts[:depth])
        paths = [folders, None] if depth == 1 else [folders]  # None: built-in, frozen
        specs = (f.find_spec(name, path) for f in sys.meta_path for path in paths)
        spec = next(filter(None, specs), None)
        if spec is None:
            near = folders if depth > 1 else folders[:1]
            beside = [
                file.stem for folder in near for file in Path(folder).glob("*.py")
            ]
            raise TargetError(
                f"target: {target!r}: cannot import {name!r}; "
                f"{nearest(part, beside)}; the module must be importable "
                "from the project's folder (project: PATH) and its packages "
                "installed here"
            )
        folders = list(spec.submodule_search_locations or ())
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    return Path(spec.origin)

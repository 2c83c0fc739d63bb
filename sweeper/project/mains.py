"""Where Hydra begins in a project: which function, with which primary config.

It reads source files and imports none of them.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeper.host import sources

FOLDERS = ("conf", "configs", "config", ".")  # where a primary config is looked for
NAMES = ("config_path", "config_name", "version_base")
PACKAGE = "pkg://"
OLDEST = "1.1"  # what Hydra takes for a main without version_base


@dataclass(frozen=True, slots=True, kw_only=True)
class Main:
    """One function under @hydra.main, or one call of hydra-zen's `hydra_main`.

    Attributes:
        target: module:function, or a program where the call stands in one.
        config: relative to the project; the bare name of one that is no file.
        folder: Hydra's search path, absolute; "" where it is unknown.
        name: of the primary config in that folder; may have slashes.
        version_base: whose defaults Hydra uses; "" for those of the installed one.
    """

    target: str
    config: str
    folder: str = ""
    name: str = ""
    version_base: str = ""


def mains(trees: Mapping[Path, ast.Module], project: Path) -> Iterator[Main]:
    """Every place of the project where Hydra begins."""
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and _is_hydra(mark):
                        target = f"{_module(path, project)}:{node.name}"
                        yield _main(target, path, mark, tree, project)
            elif isinstance(node, ast.Call) and _is_zen(node):
                given = _given(node, tree)
                name = given.get("config_name") or "config"
                yield Main(
                    target=f"[python, -m, {_module(path, project)}]",
                    config=name,
                    name=name,
                    version_base=_version_base(given),
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
    # A package of `src` may be called by either name: by its own it is installed.
    is_package = is_layout and len(parts) > 2 and (path.parent / "__init__.py").exists()
    return ".".join(parts[1:] if is_package else parts)


def _given(call: ast.Call, tree: ast.Module) -> dict[str, str | None]:
    """The texts and None among the arguments, those of a `**CONSTANT` too."""
    found: dict[str, ast.expr] = dict(zip(NAMES, call.args, strict=False))
    for word in call.keywords:
        if word.arg:
            found[word.arg] = word.value
        elif isinstance(word.value, ast.Name):
            found |= _constant(word.value.id, tree)
    given = {
        key: node.value
        for key, node in found.items()
        if isinstance(node, ast.Constant)
        and (node.value is None or isinstance(node.value, str))
    }
    if "version_base" in found:
        given.setdefault("version_base", None)  # it is computed
    return given


def _version_base(given: Mapping[str, str | None]) -> str:
    return given.get("version_base", OLDEST) or ""


def _constant(name: str, tree: ast.Module) -> dict[str, ast.expr]:
    """A mapping that the module assigns to `name`."""
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
    target: str, path: Path, mark: ast.Call, tree: ast.Module, project: Path
) -> Main:
    given = _given(mark, tree)
    name = (given.get("config_name") or "config").removesuffix(".yaml")
    path_given = given.get("config_path") or ""
    if path_given.startswith(PACKAGE):
        parts = path_given.removeprefix(PACKAGE).replace(".", "/")
        found = [root / parts for root in sources.roots(project)]
    elif "config_path" in given or (path.parent / f"{name}.yaml").is_file():
        found = [path.parent / path_given]
    else:  # it is computed: look where projects have their configs
        found = [project / root for root in FOLDERS]
        found = [f for f in found if (f / f"{name}.yaml").is_file()]
    folder = next((f.resolve() for f in found if f.is_dir()), None)
    if folder is None and path_given.startswith(PACKAGE):
        config = f"{path_given}/{name}"
    else:
        file = (folder or path.resolve().parent) / f"{name}.yaml"
        root = project.resolve()
        config = str(file.relative_to(root) if file.is_relative_to(root) else file)
    return Main(
        target=target,
        config=config,
        folder=str(folder or ""),
        name=name,
        version_base=_version_base(given),
    )

"""Where Hydra begins in a project: which function, with which primary config.

It reads source files and imports none of them.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("conf", "configs", "config", ".")  # where a primary config is looked for
NAMES = ("config_path", "config_name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Main:
    """One function under @hydra.main, or one call of hydra-zen's `hydra_main`.

    Attributes:
        target: module:function, or a program where the call stands in one.
        config: relative to the project; the bare name of one that is no file.
    """

    target: str
    config: str


def mains(trees: Mapping[Path, ast.Module], project: Path) -> Iterator[Main]:
    """Every place of the project where Hydra begins."""
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and _is_hydra(mark):
                        target = f"{_module(path, project)}:{node.name}"
                        config = _config(path, mark, tree, project)
                        yield Main(target=target, config=config)
            elif isinstance(node, ast.Call) and _is_zen(node):
                name = _given(node, tree).get("config_name", "config")
                module = _module(path, project)
                yield Main(target=f"[python, -m, {module}]", config=name)


def _is_hydra(mark: ast.Call) -> bool:
    return ast.unparse(mark.func) in ("hydra.main", "main")


def _is_zen(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "hydra_main"


def _module(path: Path, project: Path) -> str:
    parts = path.relative_to(project).with_suffix("").parts
    is_layout = parts[0] == "src" and not (project / "src" / "__init__.py").exists()
    # A package of `src` may be called by either name: by its own it is installed.
    is_package = is_layout and len(parts) > 2 and (path.parent / "__init__.py").exists()
    return ".".join(parts[1:] if is_package else parts)


def _given(call: ast.Call, tree: ast.Module) -> dict[str, str]:
    """The texts among the arguments, those of a `**CONSTANT` too."""
    found: dict[str, ast.expr] = dict(zip(NAMES, call.args, strict=False))
    for word in call.keywords:
        if word.arg:
            found[word.arg] = word.value
        elif isinstance(word.value, ast.Name):
            found |= _constant(word.value.id, tree)
    return {
        key: node.value
        for key, node in found.items()
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


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


def _config(path: Path, mark: ast.Call, tree: ast.Module, project: Path) -> str:
    texts = _given(mark, tree)
    name = f"{texts.get('config_name', 'config').removesuffix('.yaml')}.yaml"
    file = path.parent / texts.get("config_path", ".") / name
    if "config_path" not in texts and not file.is_file():
        # It is computed: look where projects have their configs.
        found = [project / folder / name for folder in FOLDERS]
        file = next((candidate for candidate in found if candidate.is_file()), file)
    inside = file.resolve().is_relative_to(project.resolve())
    return str(file.resolve().relative_to(project.resolve()) if inside else file)

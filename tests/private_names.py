"""The private names of other libraries that sweeper/ uses, by library and module.

    python -m tests.private_names

Counted are attributes, imports and strings with a leading underscore, by the modules'
syntax trees. Environment variables that libraries read are listed apart.
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "sweeper"
PRIVATE = re.compile(r"_[A-Za-z]\w*")
MODULE = re.compile(r"[a-z]\w*(\.\w+)+")
VARIABLE = re.compile(
    r"(RAY|TUNE|WANDB|HYDRA|OPTUNA|PYTORCH|TORCH|CUDA|NVIDIA|PL|OMP|MKL)_[A-Z0-9_]+"
)
# Documented in spite of the underscore, or keys of data.
PUBLIC = {"_exit", "_fields", "_target_", "_partial_", "_step", "_batches"}
# Libraries of names outside of `compat/`; a compat module is named after its library.
LIBRARIES: Mapping[str, str] = {
    **dict.fromkeys(("_actions", "_SubParsersAction", "_shutdown"), "stdlib"),
    **dict.fromkeys(("_io", "_run_exitfuncs", "_registry"), "stdlib"),
    **dict.fromkeys(("argparse._ActionsContainer",), "stdlib"),
    **dict.fromkeys(("_buffers", "_parameters", "torch._subclasses"), "torch"),
    **dict.fromkeys(("torch.distributed._tools",), "torch"),
    **dict.fromkeys(("_run_stage",), "lightning"),
    **dict.fromkeys(("_return_value", "_run_hydra", "hydra._internal"), "hydra"),
    **dict.fromkeys(("_value",), "hydra"),
    **dict.fromkeys(("ray._private", "ray._raylet", "_global_node"), "ray"),
    **dict.fromkeys(("_private", "_raylet"), "ray"),
    **dict.fromkeys(("_trial_id", "_suggest", "_find_sample_id"), "optuna"),
    **dict.fromkeys(("_SearchSpaceTransform", "optuna._transform"), "optuna"),
    **dict.fromkeys(
        ("_Fanova", "optuna.importance._fanova._fanova", "_trees"), "optuna"
    ),
    **dict.fromkeys(("_study_id", "_backend"), "optuna"),
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield the dotted name below the package and the tree of each module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).with_suffix("")
        if name.parts[0] != "vision":
            yield ".".join(name.parts), ast.parse(path.read_text(encoding="utf-8"))


def names(tree: ast.Module) -> set[str]:
    """Return the private names in a module that the package does not define.

    A private module is named up to its private part: `ray._private`.
    """
    own = set(_defined(tree))
    private: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) if PRIVATE.fullmatch(name):
                private |= {name} - own - PUBLIC
            case ast.Constant(value=str(text)) if PRIVATE.fullmatch(text):
                private |= {text} - own - PUBLIC
            case ast.Constant(value=str(text)) if MODULE.fullmatch(text):
                private.add(_private_part(text))
            case ast.Import(names=aliases):
                private |= {_private_part(alias.name) for alias in aliases}
            case ast.ImportFrom(module=str(module), names=aliases, level=0):
                if not module.startswith("sweeper"):
                    private.add(_private_part(module))
                    private |= {a.name for a in aliases if PRIVATE.fullmatch(a.name)}
    return private - {""}


def variables(tree: ast.Module) -> set[str]:
    """Return the environment variables of other libraries that a module names."""
    strings = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant))
    return {s for s in strings if isinstance(s, str) and VARIABLE.fullmatch(s)}


def library(module: str, name: str) -> str:
    """Return the library of a private name; "?" if it is in no table."""
    if ".compat." in f".{module}":
        return module.rpartition(".")[2]
    return LIBRARIES.get(name, "?")


def by_library() -> Mapping[str, Mapping[str, list[str]]]:
    """Return the modules that use each private name of each library."""
    used: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    everywhere = {n for _, tree in modules() for n in _defined(tree)}
    for module, tree in modules():
        for name in names(tree):
            owner = library(module, name)
            if owner != "?" or name not in everywhere:  # of another module of ours
                used[owner][name].append(module)
    return used


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name


def _private_part(module: str) -> str:
    parts = module.split(".")
    last = max((i for i, p in enumerate(parts) if PRIVATE.fullmatch(p)), default=-1)
    return ".".join(parts[: last + 1])


def main() -> int:
    """Print the names by library and module, then the environment variables."""
    used = by_library()
    for owner in sorted(used):
        print(f"{owner}: {len(used[owner])}")
        for name, users in sorted(used[owner].items()):
            print(f"    {name:40} {', '.join(users)}")
    print(f"in all: {sum(map(len, used.values()))}")
    named = {v for _, tree in modules() for v in variables(tree)}
    print(f"environment variables apart: {', '.join(sorted(named))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

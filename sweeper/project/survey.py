"""What an unknown project can sweep: read from its files, nothing is imported.

It guesses; the experiment file that `init` writes from it is for the user to read.
"""

import ast
import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import yaml

from sweeper.definition import sources
from sweeper.errors import ConfigError
from sweeper.project import mains
from sweeper.project.compose import Composer, to_plain

SKIPPED = {
    *("site-packages", "node_modules", "outputs", "multirun", "wandb"),
    *("tests", "bench", "benchmarks", "examples", "docs"),
}
MAX_PYTHON_FILES = 2000
RATES = ("lr", "learning_rate", "base_lr", "max_lr")
BATCHES = ("batch_size", "train_batch_size", "bs")
MODELS = ("model", "models", "net", "network", "architecture", "backbone", "encoder")
EPOCHS = ("max_epochs", "epochs", "num_epochs", "n_epochs")
LOGGERS = {"log", "log_dict", "report"}
_MONITOR = re.compile(r"^\s*monitor:\s*[\"']?([\w./@-]+)", re.MULTILINE)
LOWER_IS_BETTER = re.compile(r"loss|error|mse|mae|rmse|wer|cer|perplexity|fid|nll")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was found; "" and () where nothing was.

    Attributes:
        target: module:function, or a program for a script that needs its main.
        config: primary config, relative to the project.
        groups: config groups with their options.
        keys: dotted keys of the config tree with their values, those that every
            choice of groups could have.
        needed: overrides without which the config does not compose.
        has_lightning: whether anything of it imports Lightning, or sweeper.
        metrics: names that the code logs, as far as they are written out.
        watched: those that its callbacks monitor.
    """

    target: str = ""
    config: str = ""
    groups: Mapping[str, tuple[str, ...]]
    keys: Mapping[str, object]
    needed: tuple[str, ...] = ()
    has_lightning: bool = True
    metrics: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()

    def first(self, names: Sequence[str], kind: type | tuple[type, ...]) -> str:
        """The shortest key that ends in one of `names` and holds a `kind`."""
        found = [
            key
            for key, value in self.keys.items()
            if key.rpartition(".")[2] in names
            and isinstance(value, kind)
            and not isinstance(value, bool)
        ]
        return min(found, key=_prominence, default="")

    @property
    def objective(self) -> tuple[str, str]:
        """The metric to rank by, and its mode; validation before training."""
        ranked = sorted(self.watched or self.metrics, key=_promise)
        metric = ranked[0] if ranked else ""
        is_low = not metric or LOWER_IS_BETTER.search(metric.lower())
        return metric, "min" if is_low else "max"


def survey(project: Path) -> Survey:
    """Look through a project's folder."""
    trees = dict(_python_files(project))
    found = sorted(mains.mains(trees, project), key=lambda main: _likely(main.target))
    for main in found:
        if (project / main.config).is_file():
            return _survey(project, trees, target=main.target, config=main.config)
    for main in found:
        if main.target.startswith("["):  # its config is registered, not a file
            return _survey(project, trees, target=main.target, config=main.config)
    configs = [
        str(path.relative_to(project))
        for folder in mains.FOLDERS
        for path in (project / folder).glob("*.yaml")
        if "defaults:" in path.read_text(errors="replace")
    ]
    target = found[0].target if found else ""
    config = min(configs, key=_likely, default="")
    return _survey(project, trees, target=target, config=config)


def _likely(target: str) -> tuple[bool, int, str]:
    """Sorts what trains before what evaluates."""
    return not re.search(r"train|fit|run", target), target.count("."), target


def _survey(
    project: Path, trees: Mapping[Path, ast.Module], *, target: str, config: str
) -> Survey:
    folder = (project / config).parent
    is_file = (project / config).is_file()
    needed, keys = _composed(project, config) if is_file else ((), {})
    plain = target.strip("[]").replace(",", "")
    reached = sources.reached(plain, project) if target else {}
    # A target that instantiates by config reaches little: then all files count.
    written = _metrics(reached.values()) or _metrics(trees.values())
    watched = _monitors(folder, trees.values()) if is_file else ()
    metrics = tuple(dict.fromkeys([*watched, *written]))
    return Survey(
        target=target,
        config=config,
        groups=_groups(folder) if is_file else {},
        keys=keys,
        needed=needed,
        has_lightning=any(map(_uses_lightning, trees.values())),
        metrics=metrics,
        watched=watched,
    )


def _python_files(project: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in islice(_files(project, ".py", SKIPPED), MAX_PYTHON_FILES):
        try:
            yield path, ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):
            continue


def _files(folder: Path, suffix: str, skipped: Collection[str] = ()) -> Iterator[Path]:
    """Files by name; a virtual environment is not even walked through."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if name not in skipped and name[0] != "."
        )
        yield from (Path(root, name) for name in sorted(names) if name.endswith(suffix))


def _groups(folder: Path) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    for path in _files(folder, ".yaml"):
        *group, name = path.relative_to(folder).with_suffix("").parts
        if group and group[0] != "hydra":
            groups.setdefault("/".join(group), []).append(name)
    return {name: tuple(options) for name, options in groups.items()}


def _keys(config: Path) -> dict[str, object]:
    """Keys of the primary config and of the group files that its defaults choose."""
    data = _load(config)
    found = dict(_flat(data, ""))
    for group, name in _defaults(data):
        path = config.parent / group.lstrip("/") / f"{name}.yaml"
        found |= _flat(_load(path), f"{group.replace('/', '.')}.")
    return found


def _defaults(data: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Groups of a defaults list with the options that it chooses."""
    entries = data.get("defaults", [])
    for entry in entries if isinstance(entries, list) else []:
        for group, name in entry.items() if isinstance(entry, dict) else ():
            group = str(group).removeprefix("override ").removeprefix("optional ")
            if isinstance(name, str) and not group.startswith("hydra"):
                yield group, name


def _composed(project: Path, config: str) -> tuple[tuple[str, ...], dict[str, object]]:
    """Overrides that the config cannot do without, and the keys that it has then.

    Where Hydra cannot compose it here, the keys of its files.
    """
    composer = Composer(project / config, project)
    groups = composer.groups()
    needed = [
        f"{group}={groups[group][0]}"
        for group, name in _defaults(_load(project / config))
        if name == "???" and group in groups
    ]
    for word in list(needed):  # an experiment's file may choose the others
        fewer = [other for other in needed if other != word]
        with contextlib.suppress(ConfigError):
            composer.compose(fewer)
            needed = fewer
    try:
        keys = dict(_flat(to_plain(composer.compose(needed)), ""))
    except ConfigError:
        keys = _keys(project / config)
    return tuple(needed), keys


def _load(path: Path) -> dict[str, object]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return data if isinstance(data, dict) else {}


def _flat(node: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in node.items():
        if key == "defaults":
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _number(value)


def _number(value: object) -> object:
    """1e-3 is a number to Hydra and a text to PyYAML."""
    if isinstance(value, str) and re.fullmatch(r"[\d.]+e-?\d+", value):
        return float(value)
    return value


def _monitors(folder: Path, trees: Iterable[ast.Module]) -> tuple[str, ...]:
    """What callbacks of the configs and of the code watch."""
    names: dict[str, None] = {}
    for path in _files(folder, ".yaml"):
        text = path.read_text(encoding="utf-8", errors="replace")
        names.update(dict.fromkeys(_MONITOR.findall(text)))
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "monitor":
                value = node.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    names[value.value] = None
    return tuple(name for name in names if name not in ("null", "None"))


def _metrics(trees: Iterable[ast.Module]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _called(node) in LOGGERS:
                names.update(dict.fromkeys(_logged(node)))
    return tuple(names)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _logged(node: ast.Call) -> Iterator[str]:
    """Names in a call of log: its text, or the keys of its mapping."""
    for argument in node.args:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            if re.fullmatch(r"[\w./@-]+", argument.value):
                yield argument.value
            return
        if isinstance(argument, ast.Dict):
            for key in argument.keys:
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value
            return


def _prominence(key: str) -> tuple[bool, int, str]:
    """Sorts keys: those of training first, the shortest first."""
    return bool(re.search(r"\b(val|valid|test|eval|predict)", key)), key.count("."), key


def _uses_lightning(tree: ast.Module) -> bool:
    names = [
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    ]
    return any(re.match(r"((pytorch_)?lightning|sweeper)\b", name) for name in names)


def _promise(metric: str) -> tuple[bool, bool, bool, bool, str]:
    """Sorts what a project is ranked by to the front; a picture has spaces."""
    name = metric.lower()
    return (
        " " in name,
        "val" not in name,
        "best" in name,
        bool(LOWER_IS_BETTER.search(name)),
        metric,
    )

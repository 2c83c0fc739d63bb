"""What an unknown project can sweep: read from its files, nothing is imported.

It guesses; the experiment file that `init` writes from it is for the user to read.
"""

import ast
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sweeper.host import sources
from sweeper.project import default_config, logged, mains
from sweeper.project.compose import REGISTERING, to_resolved
from sweeper.project.default_config import Defaults

SKIPPED = {
    *("site-packages", "node_modules", "outputs", "multirun", "wandb"),
    *("tests", "bench", "benchmarks", "examples", "docs"),
}
MAX_PYTHON_FILES = 2000
RATES = ("lr", "learning_rate", "base_lr", "max_lr")
BATCHES = ("batch_size", "train_batch_size", "bs")
MODELS = ("model", "models", "net", "network", "architecture", "backbone", "encoder")
EPOCHS = ("max_epochs", "epochs", "num_epochs", "n_epochs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was found; "" and () where nothing was.

    Attributes:
        target: module:function, or a program for a script that needs its main.
        config: primary config, relative to the project.
        defaults: what the config is without an experiment.
        has_lightning: whether anything of it imports Lightning, or sweeper.
        logged: metrics that a fit logs with their stage, as far as the code says.
        watched: those that its callbacks monitor, with the mode that they have.
    """

    target: str = ""
    config: str = ""
    defaults: Defaults
    has_lightning: bool = True
    logged: Mapping[str, str]
    watched: Mapping[str, str]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that is logged or monitored."""
        return tuple(dict.fromkeys([*self.logged, *self.watched]))

    def first(self, names: Sequence[str], kind: type | tuple[type, ...]) -> str:
        """The shortest key that ends in one of `names` and holds a `kind`."""
        found = [
            key
            for key, value in self.defaults.keys.items()
            if key.rpartition(".")[2] in names
            and isinstance(value, kind)
            and not isinstance(value, bool)
        ]
        return min(found, key=_prominence, default="")

    @property
    def epochs(self) -> str:
        """The key that says how long it trains, "" for none."""
        return self.first(EPOCHS, int)

    @property
    def short_epochs(self) -> int:
        """Epochs of a first sweep: three, or fewer where the config says so."""
        asked = self.defaults.keys[self.epochs]
        return min(asked, 3) if isinstance(asked, int) and asked > 0 else 3

    @property
    def model_group(self) -> str:
        """The group that chooses the model, its package with it; "" for none."""
        for name in MODELS:
            for group in self.defaults.choices:
                if group.partition("@")[0].rpartition("/")[2] == name:
                    return group
        return ""

    def space(self) -> dict[str, str]:
        """A first search space: the model's kin, the rate and the size of a batch."""
        space: dict[str, str] = {}
        rate, batch = self.first(RATES, (int, float)), self.first(BATCHES, int)
        if rate and (value := float(str(self.defaults.keys[rate]))) > 0:
            space[rate] = f"[{value / 3:.1g}, {value:.3g}, {value * 3:.1g}]"
        if batch and (size := int(str(self.defaults.keys[batch]))) > 1:
            space[batch] = f"[{size // 2}, {size}]"
        keys = [*space, *([self.epochs] if self.epochs else [])]
        group = self.model_group
        options = self.defaults.kin(group, keys=keys, most=3) if group else ()
        return {**({group: ", ".join(options)} if len(options) > 1 else {}), **space}

    @property
    def objective(self) -> tuple[str, str]:
        """The metric to rank by, and its mode; validation before training."""
        metric = min(self.metrics, key=self._promise, default="")
        is_lower = not metric or logged.is_lower_better(metric)
        return metric, self.watched.get(metric) or ("min" if is_lower else "max")

    def _promise(self, metric: str) -> tuple[bool, bool, bool, bool, bool, bool, str]:
        """Sorts what a project is ranked by to the front."""
        stage = self.logged.get(metric) or logged.stage_of(metric)
        return (
            stage != logged.VALIDATION,
            metric not in self.logged,
            not logged.is_quality(metric),
            metric not in self.watched,
            "best" in metric.lower(),
            logged.is_lower_better(metric),
            metric,
        )


def survey(project: Path) -> Survey:
    """Look through a project's folder.

    Of several functions under @hydra.main it takes one that trains and logs.
    """
    trees = dict(_python_files(project))
    files = [m for m in mains.mains(trees, project) if _has_config(project, m)]
    found = [_survey(project, trees, main.target, main.config) for main in files]
    if not found:
        configs = [
            str(path.relative_to(project))
            for folder in mains.FOLDERS
            for path in (project / folder).glob("*.yaml")
            if "defaults:" in path.read_text(errors="replace")
        ]
        targets = [main.target for main in mains.mains(trees, project)]
        config = min(configs, key=_likely, default="")
        target = min(targets, key=_likely, default="")
        return _survey(project, trees, target, config)[1]
    return min(found, key=lambda pair: (pair[0], _likely(pair[1].target)))[1]


def _has_config(project: Path, main: mains.Main) -> bool:
    """Whether a main's config is a file, or one that its code registers."""
    if (project / main.config).is_file() or main.target.startswith("["):
        return True
    return sources.mentions(sources.reached(_plain(main.target), project), *REGISTERING)


def _plain(target: str) -> str:
    return target.strip("[]").replace(",", "")


def _likely(target: str) -> tuple[bool, int, str]:
    """Sorts what trains before what evaluates."""
    return not re.search(r"train|fit|run", target), target.count("."), target


def _survey(
    project: Path, trees: Mapping[Path, ast.Module], target: str, config: str
) -> tuple[tuple[bool, bool], Survey]:
    """What one main can sweep; whether it lacks a training, and metrics."""
    defaults = default_config.compose(project, config, _plain(target))
    plain = {} if defaults.config is None else to_resolved(defaults.config)
    reached = sources.reached(_plain(target), project) if target else {}
    for name in _values(plain, "_target_"):
        reached |= sources.reached(f"{str(name[0]).rpartition('.')[0]}:_", project)
    written = logged.metrics(reached.values())
    monitors = [(m, mode) for m, mode in _values(plain, "monitor", "mode")]
    monitors += _monitors(reached.values())
    found = Survey(
        target=target,
        config=config,
        defaults=defaults,
        has_lightning=any(map(_uses_lightning, trees.values())),
        # A target that makes all by names of its own reaches little: all files count.
        logged=written or logged.metrics(trees.values()),
        watched={
            str(monitor): str(mode) if mode in ("min", "max") else ""
            for monitor, mode in reversed(monitors)
            if isinstance(monitor, str) and monitor not in ("", "???")
        },
    )
    return (not logged.trains(reached.values()), not written), found


def _values(node: object, key: str, *others: str) -> Iterator[tuple[object, ...]]:
    """The values of a key, wherever a config has it, with those beside it."""
    if isinstance(node, Mapping) and isinstance(node.get(key), str):
        yield (node[key], *(node.get(other) for other in others))
    if isinstance(node, Mapping | list):
        for child in node.values() if isinstance(node, Mapping) else node:
            yield from _values(child, key, *others)


def _monitors(trees: Iterable[ast.Module]) -> list[tuple[object, object]]:
    """What callbacks in the code watch, with the mode beside it."""
    found = []
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                words = {word.arg: word.value for word in node.keywords}
                values = [words.get(name) for name in ("monitor", "mode")]
                if isinstance(values[0], ast.Constant):
                    found.append(tuple(getattr(v, "value", None) for v in values))
    return [(monitor, mode) for monitor, mode in found]


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

"""A scan of an unknown project for its entry point, config keys and metrics.

It guesses from source files and the composed config. The user should check the
experiment file that `init` writes from it.
"""

import ast
import contextlib
import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.experiment.defaults import BATCH_SIZES, EPOCHS, LEARNING_RATES
from sweeper.system.errors import ConfigError, SweeperError
from sweeper.system.targets import FOLDERS, Main, find_mains, mentions, reached
from sweeper.trial.compose import REGISTERING, Composer, Description
from sweeper.trial.config_keys import leaves

SKIPPED = {
    *("site-packages", "node_modules", "outputs", "multirun", "wandb"),
    *("tests", "bench", "benchmarks", "examples", "docs"),
}
MAX_PYTHON_FILES = 2000
MODELS = ("model", "models", "net", "network", "architecture", "backbone", "encoder")
TRAINING, VALIDATION, TESTING = "training", "validation", "testing"
_STAGES = {
    TESTING: re.compile(r"(^|_)(test|predict)"),
    VALIDATION: re.compile(r"(^|_)(val|valid|validation|dev)(_|$)"),
    TRAINING: re.compile(r"(^|_)(train|training|fit)(_|$)"),
}
_WORD = re.compile(r"train(ing)?|fit|val(id|idation)?|dev|test|predict")
_LOGS = re.compile(  # calls that log numbers with Lightning or sweeper
    r"(.*\.)?(self|module|pl_module|model|lightning_module)\.log(_dict)?|"
    r"(sweeper\.)?report"
)
_METRIC = re.compile(r"[\w./@-]+")
_LOWER = re.compile(
    r"(loss|error|err|mse|rmse|mae|mape|wer|cer|eer|ppl|perplexity|fid|kid|nll|bce|"
    r"lpips|brier|ece|entropy|divergence|distance)\d*"
)
_HIGHER = re.compile(
    r"(acc|accuracy|top|f|auc|auroc|ap|map|iou|miou|dice|jaccard|precision|recall|kappa|"
    r"psnr|ssim|bleu|rouge|r|score|reward|return|elbo|corr|correlation)\d*"
)
_LIGHTNING = re.compile(
    r"^\s*(from|import)\s+((pytorch_)?lightning|sweeper)\b", re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """The findings of a scan; a missing one is empty.

    Attributes:
        target: module:function, or a program for a script that must run as main.
        config: primary config, relative to the project.
        composer: composer of the config; None if Hydra cannot start.
        description: description of the config.
        keys: the config's dotted keys with their values.
        has_lightning: whether a file imports Lightning or sweeper.
        trains: whether the target's files fit a Trainer or report to sweeper.
        logged: metrics that a fit logs, with their stage, "" if it is unknown.
        watched: metrics that callbacks monitor, with their mode, "" if it is unknown.
    """

    target: str
    config: str
    composer: Composer | None = field(compare=False)
    description: Description
    keys: Mapping[str, object]
    has_lightning: bool
    trains: bool
    logged: Mapping[str, str]
    watched: Mapping[str, str]

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics that are logged or monitored."""
        return tuple(dict.fromkeys([*self.logged, *self.watched]))

    @property
    def objective(self) -> tuple[str, str]:
        """The metric to rank by, and its mode; validation metrics are preferred."""
        metric = min(self.metrics, key=self._promise, default="")
        is_lower = not metric or is_lower_better(metric)
        return metric, self.watched.get(metric) or ("min" if is_lower else "max")

    def _promise(self, metric: str) -> tuple[bool, bool, bool, bool, bool, bool, str]:
        """Return a sort key that puts the most likely objective first."""
        stage = self.logged.get(metric) or stage_of(metric)
        is_quality = is_lower_better(metric) or _has_word(_HIGHER, metric)
        return (
            stage != VALIDATION,
            metric not in self.watched,  # a callback fails if it is not logged
            metric not in self.logged,
            not is_quality,
            "best" in metric.lower(),
            is_lower_better(metric),
            metric,
        )

    def first(self, names: Sequence[str], kind: type | tuple[type, ...]) -> str:
        """Return the shortest key that ends in a name and holds a `kind`, or ""."""
        keys = [
            key
            for key, value in self.keys.items()
            if key.rpartition(".")[2] in names
            and isinstance(value, kind)
            and not isinstance(value, bool)
        ]
        return min(keys, key=_prominence, default="")

    @property
    def epochs(self) -> str:
        """The key of the number of epochs."""
        return self.first(EPOCHS, int)

    @property
    def short_epochs(self) -> int:
        """Epochs of a first sweep: three, or fewer if the config has fewer."""
        number = self.keys[self.epochs]
        return min(number, 3) if isinstance(number, int) and number > 0 else 3

    @property
    def overrides(self) -> tuple[str, ...]:
        """Options for the choices that the config leaves open, without the model."""
        group = self.model_group
        return tuple(w for w in self.description.needed if w.split("=")[0] != group)

    @property
    def model_group(self) -> str:
        """The group that chooses the model, with its package; "" if there is none."""
        groups = [*self.description.choices]
        names = [group.partition("@")[0].rpartition("/")[2] for group in groups]
        return next((groups[names.index(n)] for n in MODELS if n in names), "")

    def space(self) -> dict[str, str]:
        """Return a first search space: a few models, learning rates and batch sizes."""
        space: dict[str, str] = {}
        rate = self.first(LEARNING_RATES, (int, float))
        batch = self.first(BATCH_SIZES, int)
        if rate and (value := float(str(self.keys[rate]))) > 0:
            space[rate] = f"[{value / 3:.1g}, {value:.3g}, {value * 3:.1g}]"
        if batch and (size := int(str(self.keys[batch]))) > 1:
            space[batch] = f"[{size // 2}, {size}]"
        options = self._models([*space, *([self.epochs] if self.epochs else [])])
        models = {self.model_group: ", ".join(options)} if len(options) > 1 else {}
        return {**models, **space}

    def _models(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Return the chosen model and up to two others whose configs have the keys.

        Models of the same family are preferred, such as resnet34 for resnet18.
        """
        group = self.model_group
        if not group:
            return ()
        first = self.description.choices[group]
        options = self.description.groups.get(group.partition("@")[0], ())
        fit = [o for o in options if o != first and self._has(group, o, keys)]
        alike = [option for option in fit if _stem(option) == _stem(first)] or fit
        near = sorted(alike, key=lambda o: (abs(_number(o) - _number(first)), o))
        return (first, *near[:2])

    def _has(self, group: str, option: str, keys: Sequence[str]) -> bool:
        assert self.composer is not None  # noqa: S101  # there is a group
        try:
            config = self.composer.plain([*self.overrides, f"{group}={option}"])
        except ConfigError:
            return False
        return set(keys) <= dict(leaves(config)).keys()


def _stem(option: str) -> str:
    return re.split(r"[^a-zA-Z]", option)[0]


def _number(option: str) -> int:
    return int((re.findall(r"\d+", option) or ["0"])[0])


def _prominence(key: str) -> tuple[bool, int, str]:
    """Return a sort key that puts keys of training first, and short ones first."""
    return bool(re.search(r"\b(val|valid|test|eval|predict)", key)), key.count("."), key


def is_lower_better(metric: str) -> bool:
    """Return whether a lower metric is better, by the words of its name.

    >>> is_lower_better("val/total_loss"), is_lower_better("confidence")
    (True, False)
    """
    return _has_word(_LOWER, metric) or "loss" in metric.lower()


def _has_word(pattern: re.Pattern[str], metric: str) -> bool:
    words = re.findall(r"[A-Z]?[a-z]+\d*|[A-Z]+\d*", metric)
    return any(pattern.fullmatch(word.lower()) for word in words)


def stage_of(name: str) -> str:
    """Return the stage in the name of a function or metric, "" if there is none.

    >>> stage_of("on_validation_epoch_end"), stage_of("val/acc"), stage_of("loss")
    ('validation', 'validation', '')
    """
    words = re.sub(r"[^a-z]+", "_", name.lower())
    return next((stage for stage, text in _STAGES.items() if text.search(words)), "")


def scan(project: Path) -> Scan:
    """Scan a project's folder.

    Among several functions under @hydra.main, one that trains and logs is preferred.
    """
    trees = dict(_parsed(project))
    mains = list(find_mains(trees, project))
    entries = [(m.target, m.config) for m in mains if _has_config(project, m)]
    if not entries:
        configs = [
            str(path.relative_to(project))
            for folder in FOLDERS
            for path in (project / folder).glob("*.yaml")
            if "defaults:" in path.read_text(errors="replace")
        ]
        target = min((main.target for main in mains), key=_likely, default="")
        entries = [(target, min(configs, key=_likely, default=""))]
    scans = [_scan(project, trees, target, config) for target, config in entries]
    return min(scans, key=lambda s: (not s.trains, not s.logged, _likely(s.target)))


def _has_config(project: Path, main: Main) -> bool:
    """Return whether a main's config is a file or registered by its code."""
    if (project / main.config).is_file() or main.target.startswith("["):
        return True
    return mentions(reached(main.target, project), *REGISTERING)


def _likely(name: str) -> tuple[bool, int, str]:
    """Return a sort key that puts names of training first, and short ones first."""
    return not re.search(r"train|fit|run", name), name.count("."), name


def _scan(
    project: Path, trees: Mapping[Path, ast.Module], target: str, config: str
) -> Scan:
    command = target.strip("[]").replace(",", "")
    composer, description = None, Description()
    with contextlib.suppress(SweeperError):  # `init` reports the missing keys
        composer = Composer(project / config, project, target=command)
        description = composer.describe()
    files = reached(command, project) if command else {}
    for name, _ in _values(description.config, "_target_"):
        files |= reached(f"{str(name).rpartition('.')[0]}:_", project)
    logged, code = _logged(files.values()), "\n".join(map(_text, files))
    monitors = [*_values(description.config, "monitor"), *_monitors(files.values())]
    return Scan(
        target=target,
        config=config,
        composer=composer,
        description=description,
        keys=dict(leaves(description.config)),
        has_lightning=any(_LIGHTNING.search(_text(path)) for path in trees),
        trains=bool(re.search(r"\breport\(", code))
        or bool(re.search(r"\b[Tt]rainer\b", code) and re.search(r"\bfit\(", code)),
        # A target with its own way to create objects imports little: use all files.
        logged=logged or _logged(trees.values()),
        watched={
            str(monitor): str(mode) if mode in ("min", "max") else ""
            for monitor, mode in reversed(monitors)
            if isinstance(monitor, str) and monitor not in ("", "???")
        },
    )


def _values(node: object, key: str) -> Iterator[tuple[object, object]]:
    """Yield each text under `key` at any depth of a config, with its sibling `mode`."""
    if isinstance(node, Mapping) and isinstance(node.get(key), str):
        yield node[key], node.get("mode")
    if isinstance(node, Mapping | list):
        for child in node.values() if isinstance(node, Mapping) else node:
            yield from _values(child, key)


def _monitors(trees: Iterable[ast.Module]) -> Iterator[tuple[object, object]]:
    """Yield the metrics that callbacks in the code monitor, with their modes."""
    for node in itertools.chain.from_iterable(map(ast.walk, trees)):
        if isinstance(node, ast.Call):
            words = {
                word.arg: getattr(word.value, "value", "") for word in node.keywords
            }
            yield words.get("monitor"), words.get("mode")


def _logged(trees: Iterable[ast.Module]) -> dict[str, str]:
    """Return each metric that a fit logs with its stage.

    A metric that is logged only in a test is left out: no fit reports it.
    """
    stages: dict[str, set[str]] = defaultdict(set)
    for tree in trees:
        nodes = list(ast.walk(tree))
        texts = {n.value for n in nodes if isinstance(n, ast.Constant)}
        words = sorted(t for t in texts if isinstance(t, str) and _WORD.fullmatch(t))
        for function in nodes:
            if isinstance(function, ast.FunctionDef):
                stage = stage_of(function.name)
                for name in _names(function, words):
                    stages[name].add(stage or stage_of(name))
    return {
        name: VALIDATION
        if VALIDATION in {*seen, stage_of(name)}
        else min(seen - {TESTING})
        for name, seen in stages.items()
        if seen - {TESTING}
    }


def _names(function: ast.FunctionDef, stages: Sequence[str]) -> Iterator[str]:
    """Yield the names that a function logs; a placeholder stands for each stage."""
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and _LOGS.fullmatch(ast.unparse(call.func)):
            code = ast.unparse(call)
            keys = re.findall(r"'([^']+)':", code)
            for text in keys or re.findall(r"'([^']+)'", code)[:1]:
                for stage in stages if text.count("{") == 1 else [""]:
                    name = re.sub(r"\{[\w.]+\}", stage, text)
                    if _METRIC.fullmatch(name):
                        yield name


def _parsed(project: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Yield the project's Python files, parsed; invalid files are skipped."""
    paths = itertools.islice(_python_files(project), MAX_PYTHON_FILES)
    for path in paths:
        try:
            yield path, ast.parse(_text(path))
        except (SyntaxError, ValueError):
            continue


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _python_files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if n not in SKIPPED and n[0] != ".")
        yield from (Path(root, name) for name in sorted(names) if name.endswith(".py"))

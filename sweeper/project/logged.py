"""Which metrics a project's code logs, and in which stage, as far as its text says."""

import ast
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

LOGGERS = {"log", "log_dict"}
RECEIVERS = {"self", "module", "pl_module", "model", "lightning_module"}
TRAINING, VALIDATION, TESTING = "training", "validation", "testing"
_STAGES = {
    TESTING: re.compile(r"(^|_)(test|predict)"),
    VALIDATION: re.compile(r"(^|_)(val|valid|validation|dev)(_|$)"),
    TRAINING: re.compile(r"(^|_)(train|training|fit)(_|$)"),
}
_NAME = re.compile(r"[\w./@-]+")
_LOWER = re.compile(
    r"(loss|error|err|mse|rmse|mae|mape|wer|cer|eer|ppl|perplexity|fid|kid|nll|bce|"
    r"lpips|brier|ece|entropy|divergence|distance)\d*"
)


_HIGHER = re.compile(
    r"(acc|accuracy|top|f|auc|auroc|ap|map|iou|miou|dice|jaccard|precision|recall|kappa|"
    r"psnr|ssim|bleu|rouge|r|score|reward|return|elbo|corr|correlation)\d*"
)


def is_quality(metric: str) -> bool:
    """Return whether a name says how good a model is.

    >>> is_quality("val/f1"), is_quality("valid_loss"), is_quality("examples_seen")
    (True, True, False)
    """
    return is_lower_better(metric) or any(map(_HIGHER.fullmatch, _words(metric)))


def is_lower_better(metric: str) -> bool:
    """Return whether less of a metric is better, by the words of its name.

    >>> is_lower_better("val/total_loss"), is_lower_better("confidence")
    (True, False)
    """
    return any(map(_LOWER.fullmatch, _words(metric))) or "loss" in metric.lower()


def _words(metric: str) -> list[str]:
    words = re.findall(r"[A-Z]?[a-z]+\d*|[A-Z]+\d*", metric)
    return [word.lower() for word in words]


def stage_of(name: str) -> str:
    """Return the stage that a name of a function or of a metric speaks of, else "".

    >>> stage_of("on_validation_epoch_end"), stage_of("val/acc"), stage_of("loss")
    ('validation', 'validation', '')
    """
    words = re.sub(r"[^a-z]+", "_", name.lower())
    return next((stage for stage, text in _STAGES.items() if text.search(words)), "")


def metrics(trees: Iterable[ast.Module]) -> dict[str, str]:
    """Return each metric that a fit logs, with its stage, "" where that is unknown.

    What is logged in a test only is left out: no fit reports it.
    """
    stages: dict[str, set[str]] = defaultdict(set)
    for tree in trees:
        for function in _functions(tree):
            for name, stage in function.logged():
                stages[name].add(stage)
    found = {}
    for name, seen in stages.items():
        seen = {stage or stage_of(name) for stage in seen}
        if seen - {TESTING}:
            is_validation = VALIDATION in seen or stage_of(name) == VALIDATION
            found[name] = VALIDATION if is_validation else min(seen - {TESTING})
    return found


def trains(trees: Iterable[ast.Module]) -> bool:
    """Return whether code fits a Trainer, or reports to sweeper itself."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    called = {_called(node) for node in nodes if isinstance(node, ast.Call)}
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    has_trainer = bool({"Trainer", "trainer"} & (names | attributes))
    return "report" in called or (has_trainer and "fit" in called)


@dataclass
class _Function:
    """A function with the calls of it in its file: a helper learns its stage there."""

    node: ast.FunctionDef
    calls: list[tuple[str, ast.Call]] = field(default_factory=list)

    def logged(self) -> Iterator[tuple[str, str]]:
        """Names that it logs, each with a stage that it is logged in."""
        texts = [
            text
            for node in ast.walk(self.node)
            if isinstance(node, ast.Call) and _is_log(node)
            for text in _names(node)
        ]
        for text, (stage, values) in itertools.product(texts, self._uses()):
            name = _spelled(text, values)
            if name is not None and _NAME.fullmatch(name):
                yield name, stage

    def _uses(self) -> list[tuple[str, Mapping[str, str]]]:
        """The stages that it runs in, with the texts that its parameters have."""
        stage = stage_of(self.node.name)
        if stage or not self.calls:
            return [(stage, {})]
        names = [argument.arg for argument in self.node.args.args]
        names = names[1:] if names[:1] == ["self"] else names
        uses: list[tuple[str, Mapping[str, str]]] = []
        for caller, call in self.calls:
            given = dict(zip(names, call.args, strict=False))
            given |= {word.arg: word.value for word in call.keywords if word.arg}
            values = {
                name: node.value
                for name, node in given.items()
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
            said = [stage_of(value) for value in values.values()]
            uses.append((stage_of(caller) or next(filter(None, said), ""), values))
        return uses


def _functions(tree: ast.Module) -> list[_Function]:
    functions = [
        _Function(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    ]
    by_name = {function.node.name: function for function in functions}
    for function in functions:
        for node in ast.walk(function.node):
            if isinstance(node, ast.Call) and _called(node) in by_name:
                by_name[_called(node)].calls.append((function.node.name, node))
    return functions


def _is_log(call: ast.Call) -> bool:
    """Whether a call logs to Lightning or to sweeper; a picture goes elsewhere."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id == "report"
    if not isinstance(function, ast.Attribute):
        return False
    value = function.value
    receiver = getattr(value, "id", getattr(value, "attr", ""))
    if function.attr == "report":
        return receiver == "sweeper"
    return function.attr in LOGGERS and receiver in RECEIVERS


def _called(node: ast.Call) -> str:
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def _names(call: ast.Call) -> Iterator[ast.expr]:
    """The names in a call: its first text, or the keys of its first mapping."""
    for argument in (*call.args, *(word.value for word in call.keywords)):
        if isinstance(argument, ast.Dict):
            yield from filter(None, argument.keys)
            return
        if isinstance(argument, ast.JoinedStr) or (
            isinstance(argument, ast.Constant) and isinstance(argument.value, str)
        ):
            yield argument
            return


def _spelled(text: ast.expr, values: Mapping[str, str]) -> str | None:
    """A text, its placeholders filled; None where one is unknown."""
    if isinstance(text, ast.Constant):
        return text.value if isinstance(text.value, str) else None
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    found = []
    for part in parts:
        node = part.value if isinstance(part, ast.FormattedValue) else part
        if isinstance(node, ast.Constant):
            found.append(str(node.value))
        elif isinstance(node, ast.Name) and node.id in values:
            found.append(values[node.id])
        else:
            return None
    return "".join(found)

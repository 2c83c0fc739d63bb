"""Lightning's searches for a learning rate or a batch size, which train within a fit.

A search belongs to the start of a trial. On a resume it would search from later weights
and then restore its own copy of the fit, so it does not run again there: what it found
is in the checkpoint.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback

SEARCHES = {"LearningRateFinder": "lr_find", "BatchSizeFinder": "scale_batch_size"}
RESULTS = ("optimal_lr", "optimal_batch_size")


def search(callback: object) -> str:
    """Return the name of the method that searches; "" if the callback has none."""
    names = (SEARCHES.get(base.__name__, "") for base in type(callback).__mro__)
    return next(filter(None, names), "")


def is_search(callbacks: "Iterable[Callback]") -> bool:
    """Return whether a `fit` is one of Lightning's Tuner, which only searches."""
    return any(search(c) and getattr(c, "_early_exit", False) for c in callbacks)


def silence(callbacks: "Iterable[Callback]") -> None:
    """Have no callback search at the start of a fit that resumes."""
    for callback in callbacks:
        name = search(callback)
        if name:
            vars(callback)[name] = _skip


def wake(callbacks: "Iterable[Callback]") -> None:
    """Let callbacks search again, such as at a later epoch of their choice."""
    for callback in callbacks:
        vars(callback).pop(search(callback), None)


def take(callbacks: "Iterable[Callback]") -> dict[str, dict[str, Any]]:
    """Return what each search has found, by the callback's place and attribute."""
    return {
        f"{index} {name}": _plain(vars(callback)[name])
        for index, callback in enumerate(callbacks)
        for name in RESULTS
        if search(callback) and vars(callback).get(name) is not None
    }


def put(callbacks: "Iterable[Callback]", saved: dict[str, dict[str, Any]]) -> None:
    """Put back what `take` returned."""
    for index, callback in enumerate(callbacks):
        for name in RESULTS:
            found = saved.get(f"{index} {name}")
            if found is not None and search(callback):
                vars(callback)[name] = _found(callback, found)


def _plain(result: Any) -> dict[str, Any]:
    return {"number": result} if isinstance(result, int) else {**vars(result)}


def _found(callback: "Callback", saved: dict[str, Any]) -> Any:
    if "number" in saved:
        return saved["number"]
    import importlib  # the class of the callback's own Lightning package

    base = next(b for b in type(callback).__mro__ if b.__name__ in SEARCHES)
    package = base.__module__.partition(".callbacks")[0]
    kind = importlib.import_module(f"{package}.tuner.lr_finder")._LRFinder
    result = object.__new__(kind)
    vars(result).update(saved)
    return result


def _skip(*_: object) -> None:
    return

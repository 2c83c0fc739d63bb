"""Values of attributes: compared without a copy, copied to a checkpoint, put back."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Collection
from typing import Any

from sweeper.trial.compat.torch import metric_state, restore_metric
from sweeper.trial.libraries import numpy as np
from sweeper.trial.libraries import torch, torchmetrics

STATE = "sweeper.state_dict"  # key of the copy of an object that has one
OPAQUE = object()  # fingerprint of a value that cannot be kept


def is_scalar(value: object) -> bool:
    """Return whether a value is a number, a text, a dtype or None."""
    return value is None or isinstance(
        value, bool | int | float | str | np.generic | torch.dtype
    )


def fingerprint(value: Any, inside: Collection[int]) -> object:
    """Return something that is equal for equal values; OPAQUE if it is not kept.

    Args:
        inside: ids of objects that somebody else saves.
    """
    if is_scalar(value):
        return repr(value)
    if id(value) in inside:
        return OPAQUE
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu().contiguous().reshape(-1)
        data = plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        return str(value.dtype), tuple(value.shape), zlib.crc32(data)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return str(value.dtype), value.shape, zlib.crc32(value.tobytes())
    if isinstance(value, dict):
        marks = {repr(key): fingerprint(item, inside) for key, item in value.items()}
        return tuple((k, mark) for k, mark in marks.items() if mark is not OPAQUE)
    if isinstance(value, list | tuple | deque):
        items = tuple(fingerprint(item, inside) for item in value)
        return OPAQUE if OPAQUE in items else items
    return fingerprint(_state(value), inside) if _has_state(value) else OPAQUE


def copy(value: Any, inside: Collection[int]) -> Any:
    """Return a value as a checkpoint holds it."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {
            key: copy(item, inside)
            for key, item in value.items()
            if fingerprint(item, inside) is not OPAQUE
        }
    if isinstance(value, list | tuple | deque):
        return [copy(item, inside) for item in value]
    return {STATE: copy(_state(value), inside)} if _has_state(value) else value


def restored(now: Any, saved: Any) -> Any:
    """Return a value that equals the saved one: `now` itself if others may hold it."""
    if isinstance(saved, dict) and STATE in saved:
        if _has_state(now):
            _load(now, saved[STATE])
        return now
    if isinstance(saved, torch.Tensor):
        return saved.to(now.device) if isinstance(now, torch.Tensor) else saved
    if isinstance(now, dict) and isinstance(saved, dict):
        gone = [key for key in now if key not in saved]
        for key in gone:
            if fingerprint(now[key], ()) is not OPAQUE:
                del now[key]
        for key, item in saved.items():
            now[key] = restored(now.get(key), item)
        return now
    if isinstance(now, list) and isinstance(saved, list):
        before = [*now, *[None] * len(saved)]
        pairs = zip(before, saved, strict=False)
        now[:] = [restored(old, item) for old, item in pairs]
        return now
    if isinstance(now, deque):
        now.clear()
        now.extend(saved)
        return now
    return tuple(saved) if isinstance(now, tuple) else saved


def _has_state(value: object) -> bool:
    names = ("state_dict", "load_state_dict")
    is_able = all(callable(getattr(value, name, None)) for name in names)
    return is_able and not isinstance(value, torch.utils.data.DataLoader | type)


def _state(value: Any) -> Any:
    if isinstance(value, torchmetrics.Metric):
        return metric_state(value)
    return value.state_dict()


def _load(value: Any, state: Any) -> None:
    if isinstance(value, torchmetrics.Metric):
        restore_metric(value, state)
    else:
        value.load_state_dict(state)

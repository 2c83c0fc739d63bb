"""What `self.log` has summed up since the epoch began, taken and put back.

Lightning keeps no trace of it in a checkpoint; `fit.epoch_loop._results` of 2.6.6.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

META = (
    "fx",
    "name",
    "prog_bar",
    "logger",
    "on_step",
    "on_epoch",
    "enable_graph",
    "add_dataloader_idx",
    "dataloader_idx",
    "metric_attribute",
)


def take(trainer: "Trainer") -> list[dict[str, Any]]:
    """Every logged value of the running epoch, as tensors and plain values."""
    results: Mapping[str, Any] = trainer.fit_loop.epoch_loop._results
    return [_take(key, result) for key, result in results.items()]


def _take(key: str, result: Any) -> dict[str, Any]:
    sync = result.meta.sync
    return {
        "key": key,
        "meta": {name: getattr(result.meta, name) for name in META},
        "reduce": result.meta.reduce_fx.__name__,
        "sync": (sync.should, sync.rank_zero_only, sync.op),
        "is_tensor": result.is_tensor,
        "state": result.metric_state if result.is_tensor else {},
        "step_value": result._forward_cache,
        "updates": result._update_count,
        "has_reset": result.has_reset,
    }


def put(trainer: "Trainer", package: str, saved: Sequence[Mapping[str, Any]]) -> None:
    """Go on summing where `take` found the sums.

    Args:
        package: "lightning.pytorch" or "pytorch_lightning".
        saved: what `take` gave.
    """
    classes = importlib.import_module(
        f"{package}.trainer.connectors.logger_connector.result"
    )
    results: Any = trainer.fit_loop.epoch_loop._results
    for entry in saved:
        results[entry["key"]] = _result(trainer, classes, entry)
    # Else the first batch of this process would set the sums to zero.
    trainer._logger_connector._first_loop_iter = False


def _result(trainer: "Trainer", classes: Any, entry: Mapping[str, Any]) -> Any:
    meta = classes._Metadata(reduce_fx=entry["reduce"], **entry["meta"])
    should, is_rank_zero_only, op = entry["sync"]
    meta._sync = classes._Sync(
        fn=trainer.strategy.reduce,
        _should=should,
        rank_zero_only=is_rank_zero_only,
        _op=op,
    )
    result = classes._ResultMetric(meta, entry["is_tensor"])
    for name, value in entry["state"].items():
        setattr(result, name, value)
    if not entry["is_tensor"]:
        result.value = trainer.lightning_module.get_submodule(meta.metric_attribute)
    result._forward_cache = entry["step_value"]
    result._update_count = entry["updates"]
    result.has_reset = entry["has_reset"]
    return result

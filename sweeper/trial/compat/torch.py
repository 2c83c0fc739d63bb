"""Private interfaces of torch and torchmetrics that a trial uses.

Torch 2.6 and later, torchmetrics 1.x. Nothing public gives the same.
"""

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from torchmetrics import Metric


def end_workers(loader: object) -> None:
    """End the persistent workers of a DataLoader; its next iterator starts others.

    Their random generators live as long as they do, so an epoch could not be repeated.
    """
    holder: Any = loader
    iterator = getattr(holder, "_iterator", None)
    if getattr(holder, "persistent_workers", False) and iterator is not None:
        iterator._shutdown_workers()
        holder._iterator = None


def unsaved_buffers(module: "nn.Module") -> Collection[str]:
    """Return the names of a module's own buffers that its `state_dict` leaves out."""
    return module._non_persistent_buffers_set


def metric_state(metric: "Metric") -> dict[str, Any]:
    """Return the state of a torchmetrics object; its `state_dict` may be empty."""
    return {"state": metric.metric_state, "updates": metric.update_count}


def restore_metric(metric: "Metric", saved: Mapping[str, Any]) -> None:
    """Put back what `metric_state` returned: the count of updates has no setter."""
    for name, value in saved["state"].items():
        setattr(metric, name, value)
    metric._update_count = saved["updates"]
    metric._computed = None  # the cached result is of other data


def fake_tensor_mode() -> Any:
    """Return a mode in which tensors have shapes and types, but no storage."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode(allow_non_fake_inputs=True)


def memory_tracker() -> Any:
    """Return torch's tracker of the memory of a training step."""
    from torch.distributed._tools.mem_tracker import MemTracker

    return MemTracker()


def own_tensors(module: "nn.Module") -> Sequence[MutableMapping[str, Any]]:
    """Return the parameters and the buffers of a module, not of its children.

    A stand-in without storage can be put in them, which `setattr` refuses.
    """
    return (module._parameters, module._buffers)

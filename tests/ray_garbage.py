"""A driver whose garbage holds objects of Ray while it shuts Ray down."""

import gc
import threading

import ray

from sweeper.compat import ray as compat


class _Cycle:
    """Garbage, once nothing else refers to it, that only the collector finds."""

    def __init__(self) -> None:
        self.own, self.reference = self, ray.put(1)


def _make_garbage() -> None:
    while True:
        dicts: list[dict[str, object]] = [{} for _ in range(20)]
        for each in dicts:
            each["all"] = dicts


def main() -> None:
    """Free objects of Ray in one thread while another one shuts Ray down."""
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=128 * 1024**2,
    )
    gc.disable()
    for _ in range(5_000):
        _Cycle()
    gc.enable()
    gc.set_threshold(100_000)  # so that the collector runs during the shutdown
    threading.Thread(target=_make_garbage, daemon=True).start()
    shutdown = threading.Thread(target=compat.shutdown)
    shutdown.start()
    shutdown.join()


if __name__ == "__main__":
    main()

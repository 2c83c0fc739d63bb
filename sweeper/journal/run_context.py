"""Settings of one start of a driver, as a frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sweeper.journal.record import Demand
from sweeper.packing.packing import BatchKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Settings that hold for every trial of one start.

    Attributes:
        demand: of each trial; with `is_auto` or after a trial ran out of memory its
            share may differ.
        slots: trials that the cluster runs at once.
        seed_key: config key that takes the trial's seed; "" if there is none.
        wandb_mode: "online", "offline" or "none".
        is_auto: whether shares are chosen by memory.
        peaks: predicted bytes by memory key.
        device_bytes: memory of a card; 0 if unknown.
        cards: number of cards of the whole cluster.
        accelerators: types of those cards; () if unknown.
        trials: number of trials of the whole sweep; 0 if unknown.
        node_cpus: cores of the node that has the fewest cores per card.
        node_gpus: cards of that node.
        batch: keys of the batch size in the config.
        workers: loader workers in the config, by key.
        outgrown: ids of complete trials whose config now has more epochs.
        code: version of the project's code; "" if it is in no repository.
        uid: unique id of the sweep.
    """

    demand: Demand
    slots: int
    seed_key: str
    wandb_mode: str
    is_auto: bool = False
    peaks: Mapping[str, int] = field(default_factory=dict)
    device_bytes: int = 0
    cards: float = 0.0
    accelerators: tuple[str, ...] = ()
    trials: int = 0
    node_cpus: float = 0.0
    node_gpus: float = 0.0
    batch: BatchKeys = field(default_factory=BatchKeys)
    workers: Mapping[str, int] = field(default_factory=dict)
    outgrown: frozenset[str] = frozenset()
    code: str = ""
    uid: str = ""

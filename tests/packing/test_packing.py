"""Shares of cards: what fits, what Ray may add up, where a trial lies."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.journal.record import Demand
from sweeper.packing import packing
from sweeper.packing.packing import CARDS, CONTEXT_BYTES, HEADROOM, Node, Room
from sweeper.system.errors import DemandError
from sweeper.system.text import GIB


@given(
    peak=st.integers(1, 20 * GIB),
    card=st.sampled_from(sorted(CARDS)),
    most=st.integers(1, 16),
)
def test_what_shares_a_card_fits_it_with_contexts_and_headroom(
    peak: int, card: str, most: int
) -> None:
    device = CARDS[card].device_bytes
    need = int(peak * HEADROOM) + CONTEXT_BYTES
    if need > device:
        with pytest.raises(DemandError, match="lower the batch size"):
            packing.slots(peak, device_bytes=device, max_per_gpu=most)
        return
    count = packing.slots(peak, device_bytes=device, max_per_gpu=most)
    assert 1 <= count <= most
    assert count * need <= device
    assert count == most or (count + 1) * need > device


@pytest.mark.parametrize("count", range(1, 17))
def test_shares_of_a_card_never_add_up_to_more_than_one(count: int) -> None:
    share = packing.share(count)
    assert count * share <= 1.0
    assert (count + 1) * share > 1.0
    assert packing.per_card(share) == count
    assert round(share, 4) == share  # Ray keeps four digits


@pytest.mark.parametrize("count", range(2, 17))
def test_the_allocators_and_contexts_of_a_card_fit_it(count: int) -> None:
    device = CARDS["T4"].device_bytes
    part = packing.memory_fraction(packing.share(count), device_bytes=device)
    assert count * (part * device + CONTEXT_BYTES) <= device + count  # rounding


def test_floors_are_of_each_card_and_not_of_the_cluster() -> None:
    nodes = [Node(cpus=100.0, gpus=8, accelerator="T4")]
    demand = Demand(cpus=0.1, gpus=0.15)
    assert packing.capacity(demand, nodes) == 48
    assert math.floor(8 / 0.15) == 53


def test_a_trial_goes_to_the_fullest_card_that_holds_it() -> None:
    room = Room([Node(cpus=8.0, gpus=2)])
    half, quarter = Demand(cpus=1.0, gpus=0.5), Demand(cpus=1.0, gpus=0.25)
    for demand in (half, quarter):
        place = room.find(demand)
        assert place is not None
        assert place.cards == (0,)
        room.take(demand, place)
    place = room.find(half)
    assert place is not None
    assert place.cards == (1,)


def test_a_trial_goes_only_to_its_type_of_card() -> None:
    room = Room([Node(cpus=4.0, gpus=1, accelerator="T4")])
    assert room.find(Demand(cpus=1.0, gpus=0.5, accelerator="A100")) is None
    assert room.find(Demand(cpus=1.0, gpus=0.5, accelerator="T4")) is not None


def test_two_whole_cards_are_found_on_one_node_only() -> None:
    room = Room([Node(cpus=4.0, gpus=1), Node(cpus=4.0, gpus=2)])
    place = room.find(Demand(cpus=1.0, gpus=2.0))
    assert place is not None
    assert (place.node, place.cards) == (1, (0, 1))

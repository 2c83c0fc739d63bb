"""Decay and learning rate are functions of the parameters and the step."""

import pytest
import torch
from torch import nn

from sweeper.vision.optim import make_schedule, parameter_groups


def test_biases_and_norms_do_not_decay():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    decayed, plain = parameter_groups(network.parameters(), weight_decay=0.1)
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert [p.ndim for p in plain["params"]] == [1, 1, 1, 1]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


def test_frozen_parameters_are_left_out():
    layer = nn.Linear(2, 2)
    layer.weight.requires_grad = False
    groups = parameter_groups(layer.parameters(), weight_decay=0.1)
    assert [len(group["params"]) for group in groups] == [0, 1]


def test_a_resumed_schedule_with_more_steps_follows_the_longer_curve():
    def schedule(total_steps: int) -> torch.optim.lr_scheduler.LambdaLR:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        made = make_schedule(optimizer, warmup_fraction=0.0, total_steps=total_steps)
        optimizer.step()
        return made

    short, long = schedule(10), schedule(20)
    for _ in range(5):
        short.step()
    long.load_state_dict(short.state_dict())
    long.step()  # step 6 of 20
    assert long.get_last_lr()[0] == pytest.approx(0.79389, abs=1e-5)

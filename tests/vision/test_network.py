"""Networks have the head that was asked for; what cannot be built is said."""

import urllib.error

import pytest
import torch
from torch import nn
from torchvision import models

from sweeper.vision.network import (
    SMALL_NETWORKS,
    NetworkError,
    build_network,
    replace_head,
)

ALL = [*models.list_models(module=models), *SMALL_NETWORKS]
# regnet draws its weights from the values of others, which meta tensors have not.
ON_META = [name for name in ALL if not name.startswith("regnet")]


@pytest.mark.slow
def test_every_torchvision_classifier_gets_a_head():
    for name in ON_META:
        with torch.device("meta"):
            network = build_network(name, num_classes=7, image_size=224)
        last = list(network.parameters())[-1]
        assert last.shape[0] == 7, name


@pytest.mark.parametrize("name", SMALL_NETWORKS)
@pytest.mark.parametrize("image_size", [8, 32, 40, 50, 224])
def test_small_networks_take_any_image_size(name, image_size):
    network = build_network(name, num_classes=5, image_size=image_size)
    assert network(torch.zeros(2, 3, image_size, image_size)).shape == (2, 5)


def test_small_networks_are_small():
    for name in SMALL_NETWORKS:
        network = build_network(name, num_classes=42, image_size=32)
        assert sum(p.numel() for p in network.parameters()) < 150_000


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_a_pretrained_head_is_replaced_and_nothing_else(name):
    network = models.get_model(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    replace_head(network, num_classes=7)
    assert network.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 7)
    changed = [k for k, v in network.state_dict().items() if v.shape != before[k].shape]
    assert len(changed) == 2


def test_a_small_input_keeps_the_resolution():
    with torch.device("meta"):
        network = build_network(
            "resnet18", num_classes=3, image_size=32, small_input=True
        )
        stem = nn.Sequential(network.conv1, network.maxpool)
        assert stem(torch.zeros(1, 3, 32, 32)).shape == (1, 64, 32, 32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "resnet19"}, "no network 'resnet19'; did you mean 'resnet"),
        ({"name": "qqq"}, "no network 'qqq'; see torchvision"),
        ({"name": "small_cnn", "pretrained": True}, "model.pretrained: 'small_cnn'"),
        ({"name": "small_cnn", "small_input": True}, "model.small_input: 'small_cnn'"),
        (
            {"name": "mobilenet_v3_small", "small_input": True},
            "not the stem of a ResNet",
        ),
    ],
)
def test_a_network_that_cannot_be_built_says_why(settings, message):
    with pytest.raises(NetworkError, match=message):
        build_network(num_classes=3, image_size=32, **settings)


def test_pretrained_weights_without_a_network_are_one_clear_error(
    tmp_path, monkeypatch
):
    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(NetworkError, match=r"weights of 'resnet18'.*no route to host"):
        build_network("resnet18", num_classes=3, image_size=32, pretrained=True)

"""Counts of parameters and operations equal closed forms."""

import json

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from sweeper.vision.callbacks.model_info import ModelInfo, model_info
from sweeper.vision.callbacks.model_size import ModelSize
from sweeper.vision.network import build_network
from tests.vision_callbacks.fitting import fit


def test_a_convolution_and_a_linear_layer_count_as_their_formulas_say():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.Flatten(),
        nn.Linear(8 * 6 * 6, 5),
    )
    network[0].bias.requires_grad_(False)
    info = model_info(network, image_size=6)
    convolution, norm, linear = 8 * 3 * 9 + 8, 2 * 8, 8 * 36 * 5 + 5
    assert info["parameters"] == convolution + norm + linear
    assert info["trainable_parameters"] == info["parameters"] - 8
    buffers = 4 * 8 + 4 * 8 + 8  # running mean and variance, and a 64-bit count
    assert info["size_bytes"] == 4 * info["parameters"] + buffers
    assert info["flops"] == 2 * (36 * 8 * 27) + 2 * (8 * 36 * 5)


def test_known_networks_count_as_their_papers_say():
    with torch.device("meta"):
        resnet = build_network("resnet18", num_classes=1000, image_size=224)
    info = model_info(resnet, image_size=224)
    assert info["parameters"] == 11_689_512
    assert info["flops"] / 2 == pytest.approx(1.81e9, rel=0.01)


def test_the_file_is_of_the_network_that_is_trained(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    trainer = fit([ModelInfo(str(tmp_path))], tmp_path, logger=[logger])
    written = json.loads((tmp_path / "model_info.json").read_text())
    network = trainer.lightning_module.network
    assert written["parameters"] == sum(p.numel() for p in network.parameters())
    assert (written["name"], written["input_shape"]) == ("small_cnn", [3, 8, 8])
    assert "model_info" in (tmp_path / "hparams.yaml").read_text()


def test_sizes_are_metrics_of_every_validation(tmp_path):
    trainer = fit([ModelSize()], tmp_path, logger=[CSVLogger(tmp_path, "", "")])
    network = trainer.lightning_module.network
    metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
    assert metrics["model/parameters"] == sum(p.numel() for p in network.parameters())
    flops = model_info(network, image_size=8)["flops"]
    assert metrics["model/megaflops"] == pytest.approx(flops / 1e6)

"""Networks by name: any torchvision classifier, and two small ones for small images.

A network maps images (B, 3, H, W) to logits (B, C).
"""

import difflib
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torchvision import models
from torchvision.models.resnet import BasicBlock

# Without auxiliary heads, which would return tuples in training.
EXTRA_ARGUMENTS: Mapping[str, Mapping[str, object]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
IMAGENET_CLASSES = 1000


class NetworkError(ValueError):
    """A network that cannot be built with the given settings."""


def build_network(
    name: str,
    *,
    num_classes: int,
    image_size: int,
    pretrained: bool = False,
    small_input: bool = False,
) -> nn.Module:
    """Build the network called `name` with a head for `num_classes`.

    Args:
        name: "small_cnn", "small_resnet" or one of torchvision's classifiers.
        num_classes: length of the logits.
        image_size: side in pixels; vision transformers are built for one size.
        pretrained: start from torchvision's ImageNet weights, with a new head.
        small_input: use a stem that keeps the resolution, for images below about
            64 px.

    Raises:
        NetworkError: the network does not exist or does not have these options.
    """
    if name in SMALL_NETWORKS:
        if pretrained or small_input:
            option = "pretrained" if pretrained else "small_input"
            raise NetworkError(
                f"model.{option}: {name!r} has no such option; set false"
            )
        return SMALL_NETWORKS[name](num_classes, image_size)
    known = models.list_models(module=models)
    if name not in known:
        close = difflib.get_close_matches(name, [*known, *SMALL_NETWORKS], n=3)
        hint = (
            f"did you mean {' or '.join(map(repr, close))}?"
            if close
            else ("see torchvision.models.list_models()")
        )
        raise NetworkError(f"model.name: no network {name!r}; {hint}")
    arguments = dict(EXTRA_ARGUMENTS.get(name, {}))
    if name.startswith("vit_"):
        arguments["image_size"] = image_size
    if pretrained:
        network = _pretrained(name, arguments)
        replace_head(network, num_classes=num_classes)
    else:
        network = models.get_model(name, num_classes=num_classes, **arguments)
    if small_input:
        shrink_stem(network, name=name)
    return network


def _pretrained(name: str, arguments: Mapping[str, object]) -> nn.Module:
    """Return the network with ImageNet weights from torch's cache or the internet."""
    try:
        network: nn.Module = models.get_model(
            name, weights="DEFAULT", progress=False, **arguments
        )
    except OSError as error:
        url = models.get_model_weights(name).DEFAULT.url
        raise NetworkError(
            f"model.pretrained: the ImageNet weights of {name!r} cannot be downloaded "
            f"({error}); copy {url} from a machine that has a network to "
            f"{torch.hub.get_dir()}/checkpoints, or set model.pretrained=false, which "
            "trains from random weights"
        ) from error
    return network


def replace_head(network: nn.Module, *, num_classes: int) -> None:
    """Replace the last layer, which is for ImageNet's 1000 classes, by a new one.

    Raises:
        NetworkError: no layer has 1000 outputs.
    """
    heads = [
        (path, layer)
        for path, layer in network.named_modules()
        if getattr(layer, "out_features", 0) == IMAGENET_CLASSES
        or getattr(layer, "out_channels", 0) == IMAGENET_CLASSES
    ]
    if not heads:
        raise NetworkError("model.name: no layer with 1000 outputs to replace")
    path, layer = heads[-1]
    if isinstance(layer, nn.Linear):
        head: nn.Module = nn.Linear(layer.in_features, num_classes)
    elif isinstance(layer, nn.Conv2d):
        head = nn.Conv2d(layer.in_channels, num_classes, kernel_size=1)
    else:
        raise NetworkError(f"model.name: the head is a {type(layer).__name__}")
    parent, _, attribute = path.rpartition(".")
    network.get_submodule(parent).register_module(attribute, head)


def shrink_stem(network: nn.Module, *, name: str) -> None:
    """Make a ResNet's first layers keep the resolution, as He et al. do for CIFAR.

    Raises:
        NetworkError: the network does not have the stem of a ResNet.
    """
    stem = getattr(network, "conv1", None)
    if not isinstance(stem, nn.Conv2d) or not hasattr(network, "maxpool"):
        raise NetworkError(
            f"model.small_input: {name!r} has not the stem of a ResNet; set false"
        )
    conv = nn.Conv2d(3, stem.out_channels, kernel_size=3, padding=1, bias=False)
    network.register_module("conv1", conv)
    network.register_module("maxpool", nn.Identity())


def _convolution(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _pooled_head(width: int, *, side: int, num_classes: int) -> list[nn.Module]:
    """Return layers from a feature map to logits through about 4 x 4 means.

    One mean would lose the order of a number's digits. AvgPool2d replaces
    AdaptiveAvgPool2d, whose gradient is not deterministic on a GPU.
    """
    kernel = max(1, side // 4)
    inputs = width * (side // kernel) ** 2
    return [nn.AvgPool2d(kernel), nn.Flatten(), nn.Linear(inputs, num_classes)]


def small_cnn(num_classes: int, image_size: int) -> nn.Module:
    """Build four convolutions, two of which halve the side; 0.07 M parameters."""
    quarter = -(-image_size // 4)
    return nn.Sequential(
        nn.InstanceNorm2d(3),  # light and shirt differ, digits do not
        _convolution(3, 16, stride=2),
        _convolution(16, 32, stride=2),
        _convolution(32, 48, stride=1),
        _convolution(48, 48, stride=1),
        *_pooled_head(48, side=quarter, num_classes=num_classes),
    )


def small_resnet(num_classes: int, image_size: int) -> nn.Module:
    """Build seven convolutions, six of them in residual blocks; 0.13 M parameters."""
    quarter = -(-image_size // 4)
    return nn.Sequential(
        nn.InstanceNorm2d(3),
        _convolution(3, 16, stride=2),
        BasicBlock(16, 16),
        BasicBlock(16, 32, stride=2, downsample=_shortcut(16, 32, stride=2)),
        BasicBlock(32, 64, downsample=_shortcut(32, 64, stride=1)),
        *_pooled_head(64, side=quarter, num_classes=num_classes),
    )


def _shortcut(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False),
        nn.BatchNorm2d(outputs),
    )


SMALL_NETWORKS: Mapping[str, Callable[[int, int], nn.Module]] = {
    "small_cnn": small_cnn,
    "small_resnet": small_resnet,
}

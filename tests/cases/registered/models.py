"""A network that is an option of the group `model` without a file."""

from toy import Net

from sweeper.vision import register


@register(name="wide", group="model")
class Wide(Net):
    def __init__(self, lr=0.05, width=32, sizes=(1, 2), loss=max):
        super().__init__(lr, width)

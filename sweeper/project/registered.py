"""Config options that `sweeper.vision.register` made of classes."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.plugins.config_source import ConfigSource

from sweeper.errors import ConfigError

PROVIDER = "sweeper.vision.register"


def check(
    nodes: Mapping[str, Any], sources: Sequence[ConfigSource], *, group: str = ""
) -> None:
    """Refuse a name that a registered class and a file both claim.

    Hydra would take the file without a word.

    Args:
        nodes: `ConfigStore.instance().repo` or a group of it.
        sources: where Hydra looks for configs.
        group: the group's name.

    Raises:
        ConfigError: with the names of both.
    """
    for name, node in nodes.items():
        path = f"{group}/{name}".strip("/")
        if isinstance(node, Mapping):
            check(node, sources, group=path)
        elif node.provider == PROVIDER:
            for source in sources:
                if source.scheme() != "structured" and source.is_config(path):
                    raise ConfigError(
                        f"{group}={name.removesuffix('.yaml')}: both "
                        f"{source.path}/{path} and the class {node.node['_target_']} "
                        "have this name; rename one"
                    )

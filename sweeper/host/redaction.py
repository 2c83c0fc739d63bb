"""What must not leave a process: secrets of its environment, the home folder; pure."""

import re
from collections.abc import Mapping

HIDDEN = "***"
MIN_LENGTH = 8  # a shorter value would hide words that mean something else
_SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)$", re.IGNORECASE)


def secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values of the variables whose names say that they are secret.

    >>> secrets({"WANDB_API_KEY": "0123456789", "HOME": "/home/me", "KEY": "short"})
    ('0123456789',)
    """
    return tuple(
        value
        for name, value in environment.items()
        if is_secret(name) and len(value) >= MIN_LENGTH
    )


def is_secret(name: str) -> bool:
    """Whether a variable or key of that name holds a secret.

    >>> is_secret("WANDB_API_KEY"), is_secret("aws.secret"), is_secret("keyboard")
    (True, True, False)
    """
    return bool(_SECRET.search(name))


def redacted(node: object, hidden: Mapping[str, str]) -> object:
    """The same tree with each text of `hidden` replaced, longest first.

    >>> redacted({"url": ["x:0123456789"]}, {"0123456789": "***"})
    {'url': ['x:***']}
    """
    if isinstance(node, Mapping):
        return {key: redacted(child, hidden) for key, child in node.items()}
    if isinstance(node, list | tuple):
        return [redacted(child, hidden) for child in node]
    if isinstance(node, str):
        for text in sorted(hidden, key=len, reverse=True):
            node = node.replace(text, hidden[text])
    return node

"""Redaction of secrets and of the home folder in files and W&B configs."""

import re
from collections.abc import Mapping

HIDDEN = "***"
MIN_LENGTH = 8  # shorter values would also match ordinary words
_SECRET = re.compile(
    r"(PASSWORD|PASSWD|SECRET|"
    r"(API|ACCESS|SECRET|PRIVATE|AUTH|REFRESH|BEARER)_?(KEY|TOKEN))$",
    re.IGNORECASE,
)
# These are secrets only if the value looks random. SORT_KEY=accuracy, PAD_TOKEN=<pad>
# and a path to a file of credentials are not secret.
_PERHAPS = re.compile(r"(KEY|TOKEN|CREDENTIALS?)$", re.IGNORECASE)
_RANDOM = re.compile(r"(?=(.*\d){4})(?=.*[A-Za-z])[A-Za-z0-9+=_.~-]{16,}")


def secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values of variables that are secret.

    >>> secrets({"WANDB_API_KEY": "0123456789", "HOME": "/home/me", "API_KEY": "short"})
    ('0123456789',)
    """
    return tuple(
        value
        for name, value in environment.items()
        if len(value) >= MIN_LENGTH and is_secret(name, value)
    )


def is_secret(name: str, value: str) -> bool:
    """Return whether a variable is secret, by its name or by name and value.

    >>> is_secret("WANDB_API_KEY", "x"), is_secret("SORT_KEY", "accuracy")
    (True, False)
    >>> is_secret("HF_TOKEN", "hf_a1B2c3D4e5F6g7H8")
    True
    """
    is_random = _RANDOM.fullmatch(value) is not None
    return bool(_SECRET.search(name) or (_PERHAPS.search(name) and is_random))


def redacted(node: object, hidden: Mapping[str, str]) -> object:
    """Return a tree in which each text of `hidden` is replaced, longest first.

    A text within a longer word is replaced only if it looks random: a plain word may
    be a part of another word by chance.

    >>> redacted({"url": ["x:0123456789"]}, {"0123456789": "***"})
    {'url': ['x:***']}
    >>> redacted("/home/me/data /home/me2", {"/home/me": "~"})
    '~/data /home/me2'
    """
    if isinstance(node, Mapping):
        return {key: redacted(child, hidden) for key, child in node.items()}
    if isinstance(node, list | tuple):
        return [redacted(child, hidden) for child in node]
    if isinstance(node, str):
        for text in sorted(hidden, key=len, reverse=True):
            edge = "" if _RANDOM.fullmatch(text) else r"\b"
            start, end = (edge if c.isalnum() else "" for c in (text[0], text[-1]))
            node = re.sub(f"{start}{re.escape(text)}{end}", hidden[text], node)
    return node

"""What every test shares: a clean environment and no stray process."""

import os
from collections.abc import Iterator

import pytest

collect_ignore_glob = [
    "strangers/*/*",
    "cases/*/*",
]  # projects with modules of equal names


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """Restore os.environ and the working directory: no test leaks into another."""
    before = dict(os.environ)
    folder = os.getcwd()
    yield
    os.environ.clear()
    os.environ.update(before)
    os.chdir(folder)

"""What every test shares: a clean environment and no stray process."""

import copy
import os
import signal
from collections.abc import Iterator

import pytest
from hydra import conf  # noqa: F401  (it registers Hydra's own configs)
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

Plugins.instance()  # which registers theirs

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


@pytest.fixture(autouse=True, scope="module")
def _configs() -> Iterator[None]:
    """Forget the configs that the projects of a module have registered."""
    store = ConfigStore.instance()
    registered = copy.deepcopy(store.repo)
    yield
    store.repo = registered


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c() -> None:
    """Have SIGINT interrupt: a shell ignores it in what it starts in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

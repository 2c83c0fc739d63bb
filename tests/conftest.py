"""What every test shares: a clean environment and no stray process."""

import copy
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hydra import conf  # noqa: F401  (it registers Hydra's own configs)
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

Plugins.instance()  # which registers theirs

collect_ignore_glob = [
    "strangers/*/*",
    "cases/*/*",
]  # projects with modules of equal names


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark as long the cases of a test that follow its first few."""
    seen: Counter[str] = Counter()
    for item in items:
        few = item.get_closest_marker("few")
        if few is not None and item.get_closest_marker("long") is None:
            test = item.nodeid.partition("[")[0]
            seen[test] += 1
            if seen[test] > few.args[0]:
                item.add_marker(pytest.mark.long)


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

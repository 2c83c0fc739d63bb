"""What tests of the training project share."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Small networks on shared cores: more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _exactness() -> Iterator[None]:
    """Restore torch's process-wide switch, which a Trainer sets."""
    yield
    torch.use_deterministic_algorithms(False)

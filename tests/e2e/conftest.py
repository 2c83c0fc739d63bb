"""What tests that start whole processes share."""

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def _idle_threads_sleep() -> None:
    """Torch's threads wait asleep: on a busy machine spinning ones take all cores."""
    os.environ["OMP_WAIT_POLICY"] = "passive"

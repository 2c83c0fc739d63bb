"""Private interfaces of Ray: they are there, and Ray starts without them."""

import importlib
import logging
import subprocess
import sys

import pytest
from ray import _raylet
from ray._private import services
from ray._private.node import Node

from sweeper.compat import ray as compat


def test_a_lean_start_replaces_what_it_names_and_puts_it_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = [services.start_ray_process, *(getattr(Node, n) for n in compat.EXTRAS)]
    with compat.lean_start():
        during = [
            services.start_ray_process,
            *(getattr(Node, n) for n in compat.EXTRAS),
        ]
    after = [services.start_ray_process, *(getattr(Node, n) for n in compat.EXTRAS)]
    assert all(a is not b for a, b in zip(before, during, strict=True))
    assert after == before
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (services, "start_ray_process"),
        (Node, "start_monitor"),
        (_raylet, "persist_port"),
    ],
)
def test_without_a_private_name_ray_starts_in_its_own_way(
    owner: object,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delattr(owner, name)
    before = dict(vars(services))
    with caplog.at_level(logging.WARNING), compat.lean_start():
        assert dict(vars(services)) == before
    assert "Ray starts with its agents" in caplog.text


def test_tune_neither_prints_nor_asks_for_workers_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class_cache = importlib.import_module("ray.tune.execution.class_cache")
    before = class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE
    try:
        compat.use_plain_workers()
        assert not class_cache.DEFAULT_ENV_VARS
        assert not class_cache.ENV_VARS_TO_PROPAGATE
    finally:
        class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = before
    (callback,) = compat.silence()
    callback._print("a line about a slot")  # type: ignore[attr-defined]
    assert capsys.readouterr().out == ""


def test_nothing_is_running_before_ray_has_started() -> None:
    assert not compat.is_head()
    assert compat.dead_processes() == []


@pytest.mark.long
def test_garbage_with_objects_of_ray_does_not_end_the_driver() -> None:
    # One of the steps is a race, so without the remedy about every second run fails.
    command = [sys.executable, "-m", "tests.ray_garbage"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr

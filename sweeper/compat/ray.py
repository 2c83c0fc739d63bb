"""Private interfaces of Ray, with public fallbacks.

On two cores Ray takes longer to start than a short sweep takes to train. So the
processes of the dashboard, autoscaler and runtime environments are not started.
"""

import functools
import gc
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.tune import Callback

log = logging.getLogger(__name__)

EXTRAS = ("start_api_server", "start_monitor", "start_log_monitor")  # of a head node
AGENTS = ("--dashboard_agent_command=", "--runtime_env_agent_command=")
NO_SERVICE = -1  # port that an agent without a service reports: dashboard/agent.py
AGENT_PORTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
)
# The agent waits until the raylet dies. A raylet dies if one of its agents does.
AGENT = (
    "import ctypes, os, signal\n"
    f"ctypes.CDLL(None).prctl(1, {int(signal.SIGKILL)})\n"
    "os.getppid() > 1 and signal.pause()"
)


@contextmanager
def lean_start() -> Iterator[None]:
    """Start a node without dashboard server, autoscaler, log monitor and agents.

    With `include_dashboard=False` the server still starts, and `ray.init` waits for it;
    with the autoscaler this takes over a second on two cores. The agents serve metrics
    and runtime environments, which no slot uses; they take another second of CPU and
    100 MiB. If these interfaces have changed, Ray starts with all of them.
    """
    try:
        from ray._private import services
        from ray._private.node import Node
        from ray._private.ray_constants import PROCESS_TYPE_RAYLET
        from ray._raylet import persist_port  # type: ignore[attr-defined]  # Cython

        start_process = services.start_ray_process
        methods = {name: getattr(Node, name) for name in EXTRAS}
    except (ImportError, AttributeError) as error:
        log.warning("Ray starts with its agents, which takes longer: %s", error)
        yield
        return

    def start(command: list[str], kind: str, *args: Any, **options: Any) -> Any:
        if kind == PROCESS_TYPE_RAYLET:
            command = _without_agents(command, persist_port)
        return start_process(command, kind, *args, **options)

    for name in EXTRAS:
        setattr(Node, name, lambda self, **_: None)
    vars(services)["start_ray_process"] = start
    try:
        yield
    finally:
        services.start_ray_process = start_process
        for name, method in methods.items():
            setattr(Node, name, method)


def _without_agents(command: list[str], persist_port: Any) -> list[str]:
    """Return the command of a raylet whose agents only wait.

    A raylet refuses to start without agents, and waits for files with their ports.
    """
    flags = dict(word.lstrip("-").split("=", 1) for word in command if "=" in word)
    for name in AGENT_PORTS:
        persist_port(flags["session_dir"], flags["node_id"], name, NO_SERVICE)
    agent = subprocess.list2cmdline([sys.executable, "-I", "-S", "-c", AGENT])
    return [
        next((flag + agent for flag in AGENTS if word.startswith(flag)), word)
        for word in command
    ]


def _node() -> Any:
    """Return this process's connection to its node, or None."""
    return ray._private.worker._global_node


def is_head() -> bool:
    """Return whether this process started the node that it is connected to."""
    node = _node()
    return node is not None and bool(node.head)


def dead_processes() -> list[str]:
    """Return the names of the dead processes of this process's node."""
    node = _node()
    return [] if node is None else [name for name, _ in node.dead_processes()]


def shutdown() -> None:
    """Leave the cluster; kill a node that this process started at once.

    Every trial has ended by then, and Ray's grace period would take a second. Garbage
    is collected before the shutdown and not during it: if a reference to an object of
    Ray is freed between two of its steps, Ray ends this process with exit code 1.
    """
    node = _node()
    if node is not None:
        kill = node.kill_all_processes
        node.kill_all_processes = functools.partial(_kill_at_once, kill)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        gc.collect()
        ray.shutdown()
    finally:
        if was_enabled:
            gc.enable()


def _kill_at_once(kill: Any, **options: Any) -> None:
    kill(**{**options, "allow_graceful": False})


def use_plain_workers() -> None:
    """Let Tune's trials run in the workers that Ray has already started.

    Tune requests workers with extra environment variables, so Ray would start a new
    worker for each slot. Workers of our own node inherit our environment anyway.
    """
    try:
        from ray.tune.execution import class_cache
    except ImportError as error:
        log.warning("each slot starts a new worker: %s", error)
        return
    class_cache.DEFAULT_ENV_VARS = {}
    class_cache.ENV_VARS_TO_PROPAGATE = set()


def silence() -> list[Callback]:
    """Return the callbacks that keep Tune from printing about slots."""
    try:
        from ray.tune.progress_reporter import TrialProgressCallback

        class Silent(TrialProgressCallback):
            def _print(self, msg: str) -> None:
                return

        return [Silent()]
    except (ImportError, TypeError) as error:
        log.warning("Tune prints about slots: %s", error)
        return []

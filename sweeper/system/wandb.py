"""W&B on this machine: login, server, runs and their files.

Each start of a run writes one file, called a fragment. wandb's own reader parses it.
"""

import json
import logging
import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sweeper.system import orphans, redaction

log = logging.getLogger(__name__)

DEFAULT_PROJECT = "sweeper"  # if neither the file nor the project names one
NAMES = ("offline-run-*", "run-*")  # folders of offline and of online runs
SERVER = "https://api.wandb.ai"
PROBE_SECONDS = 3.0
INIT_SECONDS = 30.0
RETRIES = 8  # per request; more would delay the end of a trial in an outage
POLL_SECONDS = 0.01


def mode(setting: str) -> str:
    """Return the mode on this machine; `auto` is online with a login, else offline.

    Args:
        setting: "auto", "online", "offline" or "none".
    """
    if setting != "auto":
        return setting
    if "WANDB_MODE" in os.environ:
        chosen = os.environ["WANDB_MODE"]
        return {"disabled": "none", "dryrun": "offline"}.get(chosen, chosen)
    return "online" if has_login() else "offline"


def has_login() -> bool:
    """Return whether this user has a W&B key, in the environment or in netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return netrc.exists() and "wandb" in netrc.read_text(errors="replace")


def unreachable() -> str:
    """Return the reason why W&B's server cannot be reached, "" if it answers.

    Behind a proxy the result is "", since only a real request could show an outage.
    """
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return ""
    server = urlsplit(os.environ.get("WANDB_BASE_URL", SERVER))
    port = server.port or (80 if server.scheme == "http" else 443)
    try:
        with socket.create_connection((server.hostname, port), PROBE_SECONDS):
            return ""
    except OSError as error:
        return f"{server.hostname}:{port}: {error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """One start of a run.

    Attributes:
        file: the `.wandb` file.
        run: its first record: run_id, run_group, job_type, tags, start_time; empty if
            the process was killed before it was written.
        rows: the history; each row is a mapping with the key `_step`.
        is_ended: whether the run was closed; if not, its process was killed.
        damage: the reader's error message, "" for an intact file.
    """

    file: Path
    run: Mapping[str, object]
    rows: tuple[Mapping[str, object], ...]
    is_ended: bool
    damage: str = ""

    @property
    def steps(self) -> list[int]:
        return [int(str(row["_step"])) for row in self.rows if "_step" in row]

    @property
    def started(self) -> str:
        """The time of the start, as a sortable text."""
        folder = self.file.parent.name.removeprefix("offline-")  # run-DATE_TIME-ID
        return f"{folder} {self.run.get('start_time', '')}"


def fragments(folder: Path) -> list[Fragment]:
    """Return the fragments below `folder`/wandb, in order of their start."""
    files = [
        file for name in NAMES for file in folder.glob(f"wandb/{name}/run-*.wandb")
    ]
    return sorted(map(_read, files), key=lambda fragment: fragment.started)


def _read(file: Path) -> Fragment:
    """Return the readable part of a fragment."""
    from wandb.util import get_core_path

    command = [get_core_path(), "leet", "inspect", "--json", "--no-observability"]
    done = subprocess.run(
        [*command, "--run-file", str(file), str(file.parent.parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    run: Mapping[str, object] = {}
    rows = []
    is_ended = False
    for line in done.stdout.splitlines():
        record = json.loads(line)
        kind = record["type"]
        if kind == "run" and not run:
            run = record["run"]
        elif kind == "history":
            rows.append(record["history"]["item"])
        is_ended = is_ended or kind == "exit"
    damage = "; ".join(done.stderr.split("\n")).strip("; ")
    return Fragment(
        file=file, run=run, rows=tuple(rows), is_ended=is_ended, damage=damage
    )


def await_writers(folder: Path, *, wait_seconds: float) -> None:
    """Wait until the W&B writers of dead processes have saved a trial's rows.

    Otherwise a new attempt that starts at once would miss the last rows of the killed
    attempt.
    """
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        marked = orphans.find(folder, mark="WANDB_DIR")
        if not any(map(orphans.is_wandb, marked)):
            return
        time.sleep(POLL_SECONDS)


def destination(
    settings: Mapping[str, object],
    asked: Mapping[str, Any],
    earlier: Sequence[Fragment],
) -> tuple[str, str]:
    """Return the W&B project and entity of a run; the entity is "" for the default.

    Args:
        settings: `project` and `entity` of the experiment file, which come first.
        asked: arguments of the project's `wandb.init`, which come second.
        earlier: fragments of the run, or of other runs of its sweep, which come third.
    """

    def first(name: str, variable: str) -> str:
        known = (str(fragment.run.get(name) or "") for fragment in earlier)
        stored = next(filter(None, known), "")
        return str(
            settings[name]
            or asked.get(name)
            or stored
            or os.environ.get(variable)
            or ""
        )

    return (
        first("project", "WANDB_PROJECT") or DEFAULT_PROJECT,
        first("entity", "WANDB_ENTITY"),
    )


def open_run(folder: Path, mode: str, **arguments: object) -> Any:  # a wandb.Run
    """Open a run below `folder`/wandb, offline if the server does not answer.

    Args:
        folder: folder of the trial or the sweep.
        mode: "online" or "offline".
        arguments: further arguments of `wandb.init`.
    """
    import wandb

    def init(mode: str) -> Any:
        os.environ["WANDB_MODE"] = mode
        os.environ["WANDB_DATA_DIR"] = str(
            folder / "wandb"
        )  # tables before their upload
        settings = wandb.Settings(
            init_timeout=INIT_SECONDS,
            silent=True,
            x_transaction_log_flush_interval=1,  # seconds of rows that a kill may lose
            x_graphql_retry_max=RETRIES,
            x_file_stream_retry_max=RETRIES,
            x_file_transfer_retry_max=RETRIES,
        )
        init: Any = wandb.init
        return init(
            dir=str(folder), mode=mode, resume="allow", settings=settings, **arguments
        )

    if mode == "offline":
        return init("offline")
    reason = unreachable()
    if not reason:
        try:
            return init("online")
        except (wandb.Error, TimeoutError, OSError) as error:
            reason = str(error).splitlines()[0]
            wandb.teardown()  # wandb still holds the run's id
    log.warning("W&B: offline, since %s; `sweeper sync` uploads the run later", reason)
    return init("offline")


def hidden() -> dict[str, str]:
    """Return the texts that no config may contain, with their replacements."""
    found = dict.fromkeys(redaction.secrets(os.environ), redaction.HIDDEN)
    home = str(Path.home())
    return found if home == "/" else {**found, home: "~"}

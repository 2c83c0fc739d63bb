"""The W&B run of a trial: one run over all attempts, in the group of its sweep.

A project's own `WandbLogger` or `wandb.init` opens it, in the W&B project that it asks
for unless the experiment file names one; group, job type and id are sweeper's. It never
stops a training: without a server the trial's run is offline.
"""

import logging
import os
import socket
import subprocess
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sweeper import defaults
from sweeper.callbacks.wandb_run import TrialRun
from sweeper.host import fragments, metrics_file, orphans, redaction
from sweeper.host.fragments import Fragment
from sweeper.trial import TrialSpec, point_id

log = logging.getLogger(__name__)

SERVER = "https://api.wandb.ai"
PROBE_SECONDS = 3.0
FLUSH_SECONDS = 15.0  # in which the writer of a killed start brings its rows to disk
INIT_SECONDS = 30.0
RETRIES = 8  # of one request; more would hold up the end of a trial in an outage


def mode(setting: str) -> str:
    """What `auto` means on this machine: online with a login, else offline.

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
    """Whether this user has a W&B key, in the environment or in netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return netrc.exists() and "wandb" in netrc.read_text(errors="replace")


def unreachable() -> str:
    """Why W&B's server cannot be reached from here; "" where it answers.

    Behind a proxy only the first request would tell.
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


def start(spec: TrialSpec) -> TrialRun | None:
    """Return the trial's run, to be opened when it is needed; None for `wandb: none`.

    From here on `wandb.init` and `wandb.log` of this process lead to that run.
    """
    chosen = str(spec.wandb["mode"])
    if chosen == "none":
        os.environ["WANDB_MODE"] = "disabled"
        return None
    import wandb  # noqa: F401  # the run looks it up among the imported modules

    os.environ.update(environment(spec))
    warnings.filterwarnings("ignore", message="There is a wandb run already in")
    folder = Path(spec.folder)
    return TrialRun(
        spec,
        lambda asked: _open(spec, asked),
        reported=metrics_file.epochs(folder / "metrics.jsonl"),
    )


def _open(
    spec: TrialSpec, asked: Mapping[str, Any]
) -> tuple[Any, list[Mapping[str, object]]]:
    """Open the trial's run; return it with the rows of its earlier fragments.

    Args:
        asked: what the project passed to `wandb.init`; {} if it did not call it.
    """
    folder = Path(spec.folder)
    if (folder / "wandb").exists():
        orphans.await_wandb(folder, wait_seconds=FLUSH_SECONDS)
    earlier = fragments.find(folder)
    is_offline = "offline" in (spec.wandb["mode"], asked.get("mode"))
    project, entity = destination(spec.wandb, asked, earlier)
    run = open_run(
        folder,
        "offline" if is_offline else "online",
        id=str(spec.wandb["id"]),
        project=project,
        entity=entity or None,
        group=str(spec.wandb["group"]),
        job_type="trial",
        name=str(spec.wandb["name"]),
        notes=str(spec.wandb["notes"]) or asked.get("notes") or None,
        tags=[*dict.fromkeys((*spec.wandb["tags"], *(asked.get("tags") or ())))],
    )
    return run, [row for fragment in earlier for row in fragment.rows]


def destination(
    settings: Mapping[str, object],
    asked: Mapping[str, Any],
    earlier: Sequence[Fragment],
) -> tuple[str, str]:
    """Return the W&B project and entity of a run; the entity is "" for the default.

    Args:
        settings: `project` and `entity` of the experiment file, which go first.
        asked: those that the project passed to `wandb.init`, which come second.
        earlier: fragments of the run, or of others of its sweep, in its project.
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
        first("project", "WANDB_PROJECT") or defaults.WANDB_PROJECT,
        first("entity", "WANDB_ENTITY"),
    )


def open_run(folder: Path, mode: str, **arguments: object) -> Any:  # a wandb.Run
    """Open a run below `folder`/wandb, offline where the server does not answer.

    Args:
        folder: of the trial or the sweep.
        mode: "online" or "offline".
        arguments: of `wandb.init`.
    """
    import wandb

    def init(mode: str) -> Any:
        os.environ["WANDB_MODE"] = mode
        os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")  # tables, not uploaded yet
        settings = wandb.Settings(
            init_timeout=INIT_SECONDS,
            silent=True,
            x_transaction_log_flush_interval=1,  # what a kill takes at most
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
            wandb.teardown()  # it holds the run's id
    log.warning("W&B: offline, since %s; `sweeper sync` uploads the run later", reason)
    return init("offline")


def environment(spec: TrialSpec) -> dict[str, str]:
    """The variables from which W&B in a process of the project's own takes the run."""
    return {
        **_named("WANDB_TAGS", ",".join(spec.wandb["tags"])),
        **_named("WANDB_PROJECT", spec.wandb["project"]),
        **_named("WANDB_ENTITY", spec.wandb["entity"]),
        "WANDB_RUN_ID": str(spec.wandb["id"]),
        "WANDB_RUN_GROUP": str(spec.wandb["group"]),
        "WANDB_JOB_TYPE": "trial",
        "WANDB_NAME": str(spec.wandb["name"]),
        "WANDB_NOTES": str(spec.wandb["notes"]),
        "WANDB_DIR": spec.folder,
        "WANDB_RESUME": "allow",
        "WANDB_SILENT": "true",
    }


def _named(variable: str, value: object) -> dict[str, str]:
    """Return a variable with its value; nothing for "", which W&B may refuse."""
    return {variable: str(value)} if value else {}


def description(spec: TrialSpec, config: Mapping[str, object]) -> dict[str, object]:
    """The run's config: nested, with the swept keys flat, and where it came from.

    A key of the project's own is never overwritten.

    A swept group hides the nested config of its name, whose keys become dotted.

    Args:
        config: the trial's config, resolved.
    """
    nested: dict[str, object] = {}
    for key, value in config.items():
        if key in spec.params and isinstance(value, Mapping):
            nested.update({f"{key}.{name}": child for name, child in value.items()})
        else:
            nested[key] = value
    project = Path(spec.project)
    described = redaction.redacted(
        {
            "sweep": spec.sweep,
            "git_commit": git(project, "rev-parse", "HEAD"),
            "git_dirty": bool(git(project, "status", "--porcelain")),
            **nested,
            **swept(spec),
        },
        hidden(),
    )
    assert isinstance(described, dict)  # noqa: S101  # a mapping stays one
    return described


def swept(spec: TrialSpec) -> dict[str, object]:
    """What tells this trial from the others, flat: for tables and parallel plots."""
    return {
        "seed": spec.seed,
        "point": point_id(spec.params, spec.lineage),
        **spec.params,
    }


def hidden() -> dict[str, str]:
    """Texts that a config must not carry away, with what stands for them."""
    found = dict.fromkeys(redaction.secrets(os.environ), redaction.HIDDEN)
    home = str(Path.home())
    return found if home == "/" else {**found, home: "~"}


def git(project: Path, *arguments: str) -> str:
    """Output of a git command in `project`, "" where it is not a repository."""
    command = ["git", "-C", str(project), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

"""The W&B run of a trial: one run over all attempts, in the group of its sweep.

The run is opened before the target is called, so a project's own `WandbLogger` or
`wandb.init` finds it and joins it, whatever project or group that asks for.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from sweeper.trial import TrialSpec, trial_id

log = logging.getLogger(__name__)


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
    return "online" if _has_login() else "offline"


def _has_login() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return netrc.exists() and "wandb" in netrc.read_text(errors="replace")


def start(spec: TrialSpec) -> None:
    """Open the trial's run, or see to it that none is opened."""
    chosen = str(spec.wandb["mode"])
    os.environ["WANDB_MODE"] = "disabled" if chosen == "none" else chosen
    if chosen == "none":
        return
    os.environ.update(environment(spec))
    import wandb

    run = wandb.init(
        id=spec.id,
        resume="allow",
        project=str(spec.wandb["project"]),
        entity=str(spec.wandb["entity"]) or None,
        group=str(spec.wandb["group"]),
        job_type="trial",
        name=str(spec.wandb["name"]),
        notes=str(spec.wandb["notes"]) or None,
        tags=list(spec.wandb["tags"]) or None,
        dir=spec.folder,
        settings=wandb.Settings(
            console="off",
            x_transaction_log_flush_interval=1,
            x_disable_stats=True,
            quiet=True,
        ),
    )
    run.define_metric(spec.metric, summary="max,last" if spec.mode == "max" else "min")


def environment(spec: TrialSpec) -> dict[str, str]:
    """The variables from which W&B in a process of the project's own takes the run."""
    tags = spec.wandb["tags"]
    return {
        "WANDB_RUN_ID": spec.id,
        "WANDB_RUN_GROUP": str(spec.wandb["group"]),
        "WANDB_JOB_TYPE": "trial",
        "WANDB_NAME": str(spec.wandb["name"]),
        "WANDB_NOTES": str(spec.wandb["notes"]),
        "WANDB_DIR": spec.folder,
        "WANDB_RESUME": "allow",
        "WANDB_TAGS": ",".join(tags) if isinstance(tags, tuple) else tags,
        "WANDB_SILENT": "true",
    }


def describe(spec: TrialSpec, config: DictConfig) -> None:
    """Give the open run the trial's config, nested, and its swept keys, flat."""
    module = sys.modules.get("wandb")  # importing it takes longer than a short trial
    if module is None or module.run is None:
        return
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    assert isinstance(resolved, dict)  # noqa: S101  # a composed config is a mapping
    project = Path(spec.project)
    flat: Mapping[str, object] = {
        **{str(key): value for key, value in resolved.items()},
        **spec.params,
        "seed": spec.seed,
        "point": trial_id(spec.params, seed=0),
        "git_commit": _git(project, "rev-parse", "HEAD"),
        "git_dirty": bool(_git(project, "status", "--porcelain")),
    }
    module.run.config.update(_without_home(flat), allow_val_change=True)


def _without_home(node: object) -> object:
    """The same tree with the user's home folder written as ~."""
    if isinstance(node, Mapping):
        return {key: _without_home(child) for key, child in node.items()}
    if isinstance(node, list | tuple):
        return [_without_home(child) for child in node]
    if isinstance(node, str):
        return node.replace(str(Path.home()), "~")
    return node


def _git(project: Path, *arguments: str) -> str:
    """Output of a git command in `project`, "" where it is not a repository."""
    command = ["git", "-C", str(project), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def finish(spec: TrialSpec, *, best: tuple[int, float] | None, exit_code: int) -> None:
    """Close the process's run, if one is open, with what came of the trial.

    Args:
        best: epoch and value over all attempts; `define_metric` starts anew with each
            offline fragment, so its summary does not know the earlier ones.
        exit_code: 0 for a trial that ended or paused as asked.
    """
    module = sys.modules.get("wandb")
    if module is None or module.run is None:
        return
    if best is not None:
        summary = {f"best/{spec.metric}": best[1], "best/epoch": best[0]}
        module.run.summary.update(summary)
    module.run.finish(exit_code=exit_code)

"""Write a first experiment file for an existing project."""

import argparse
from pathlib import Path

from sweeper.plan.plan import make_plan
from sweeper.project.scan import Scan, scan
from sweeper.system.errors import ConfigError, SweeperError

EXAMPLE = "sweeper init ../my_project -o experiments/first.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", type=Path, help="folder of a Hydra project")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("experiments/first.yaml"),
        help="the file to write (default: experiments/first.yaml)",
    )


def run(args: argparse.Namespace) -> None:
    """Scan the project, write the file and print the next step."""
    if not args.project.is_dir():
        raise ConfigError(f"{args.project}: no such folder; give that of a project")
    if args.output.exists():
        raise ConfigError(f"{args.output}: exists; choose another with --output")
    scanned = scan(args.project)
    if not scanned.config:
        raise ConfigError(
            f"{args.project}: no Hydra config was found; there must be a function "
            "under @hydra.main, or a YAML file with `defaults:` under conf/"
        )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(first_experiment(args.project, scanned), encoding="utf-8")
    print(f"wrote {args.output}; read it, then: sweeper plan {args.output}")
    try:
        make_plan(args.output, (), sweeps=Path("sweeps"))
    except SweeperError as error:
        print(f"edit it first, since plan refuses it as it is: {error}")


def first_experiment(project: Path, scan: Scan) -> str:
    """Return the file's text, with further keys and metrics as comments."""
    short = [f"{scan.epochs}={scan.short_epochs}"] if scan.epochs else []
    missing = ", ".join(key for key, value in scan.keys.items() if value == "???")
    space = [f"  {key}: {values}" for key, values in scan.space().items()]
    metric, mode = scan.objective
    metrics = ", ".join(sorted(scan.metrics)[:20])
    groups = {name: o for name, o in scan.description.groups.items() if o}
    lines = [
        f"# A first sweep of {project.absolute().name}; written by `sweeper init`.",
        f"project: {project.absolute()}",
        f"target: {scan.target or 'my_module:main'}",
        f"config: {scan.config}",
    ]
    if not scan.has_lightning:
        lines += ["# No Lightning: its loop has to call sweeper.report, docs/trial.md"]
    lines += [f"overrides: [{', '.join([*scan.overrides, *short])}]  # short, at first"]
    if missing:
        lines += [f"# must be set as well: {missing}"]
    lines += (
        ["search_space:", *space]
        if space
        else [
            "search_space: {}  # no key was recognised: name one of the config",
            "variants: {plain: []}",
        ]
    )
    lines += [
        f"objective: {{metric: {metric or 'val/loss'}, mode: {mode}}}",
        f"# logged: {metrics}" if metrics else "# no metric found: name a logged one",
        "search: grid",
        "scheduler: none",
        *(f"# group {name} ({', '.join(groups[name][:6])})" for name in [*groups][:12]),
    ]
    return "\n".join(lines) + "\n"

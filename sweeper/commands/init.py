"""Write a first experiment file for an existing project."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper import exit_codes
from sweeper.system.errors import ConfigError, SweeperError

if TYPE_CHECKING:
    from sweeper.project.scan import Scan

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


def run(args: argparse.Namespace) -> int:
    """Scan the project, write the file and print the next step."""
    from sweeper.plan.plan import make_plan
    from sweeper.project.scan import scan

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
    return exit_codes.FINISHED


def first_experiment(project: Path, scan: "Scan") -> str:
    """Return the text of the file, with comments on further keys and metrics."""
    short = [f"{scan.epochs}={scan.short_epochs}"] if scan.epochs else []
    missing = ", ".join(key for key, value in scan.keys.items() if value == "???")
    space = [f"\n  {key}: {values}" for key, values in scan.space().items()]
    metric, mode = scan.objective
    groups = {name: o for name, o in scan.description.groups.items() if o}
    lines = [
        f"# A first sweep of {project.absolute().name}; written by `sweeper init`.",
        f"project: {project.absolute()}",
        f"target: {scan.target or 'my_module:main'}",
        f"config: {scan.config}",
        ""
        if scan.has_lightning
        else "# No Lightning: its loop has to call sweeper.report, docs/trial.md",
        f"overrides: [{', '.join([*scan.overrides, *short])}]  # short, at first",
        f"# has to be set, too: {missing}" if missing else "",
        f"search_space:{''.join(space)}"
        if space
        else "search_space: {}  # nothing was found: name a key of the config\n"
        "variants: {plain: []}",
        f"objective: {{metric: {metric or 'val/loss'}, mode: {mode}}}",
        f"# logged: {', '.join(sorted(scan.metrics)[:20])}"
        if scan.metrics
        else "# no metric was found: name one that the code logs",
        "search: grid",
        "scheduler: none",
        *(f"# group {name} ({', '.join(groups[name][:6])})" for name in [*groups][:12]),
    ]
    return "\n".join(line for line in lines if line) + "\n"

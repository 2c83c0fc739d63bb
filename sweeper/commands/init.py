"""Write a first experiment file for a project that you have."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper import exits
from sweeper.errors import ConfigError, SweeperError

if TYPE_CHECKING:
    from sweeper.project.survey import Survey

EXAMPLE = "sweeper init ../my_project -o experiments/first.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("project", type=Path, help="folder of a Hydra project")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("experiments/first.yaml"),
        help="the file to write (default: experiments/first.yaml)",
    )


def run(args: argparse.Namespace) -> int:
    """Look through the project, write the file, say what to do next."""
    from sweeper.planning.plan import make_plan
    from sweeper.project.survey import survey

    if not args.project.is_dir():
        raise ConfigError(f"{args.project}: no such folder; give that of a project")
    if args.output.exists():
        raise ConfigError(f"{args.output}: exists; choose another with --output")
    found = survey(args.project)
    if not found.config:
        raise ConfigError(
            f"{args.project}: no Hydra config was found; there must be a function "
            "under @hydra.main, or a YAML file with `defaults:` under conf/"
        )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(first_experiment(args.project, found), encoding="utf-8")
    print(f"wrote {args.output}; read it, then: sweeper plan {args.output}")
    try:
        make_plan(args.output, (), sweeps=Path("sweeps"))
    except SweeperError as error:
        print(f"edit it first, since plan refuses it as it is: {error}")
    return exits.FINISHED


def first_experiment(project: Path, found: "Survey") -> str:
    """The text of the file, with what was found in comments."""
    lines = [
        f"# A first sweep of {project.absolute().name}; written by `sweeper init`.",
        f"project: {project.absolute()}",
        f"target: {found.target or 'my_module:main'}",
        f"config: {found.config}",
    ]
    if not found.has_lightning:
        lines.append(
            "# No Lightning: its loop has to call sweeper.report, docs/trial.md"
        )
    group = found.model_group
    short = [*found.defaults.without(group)]
    if found.epochs:
        short.append(f"{found.epochs}={found.short_epochs}")
    lines.append(f"overrides: [{', '.join(short)}]  # short, at first")
    missing = [key for key, value in found.defaults.keys.items() if value == "???"]
    if missing:
        lines.append(f"# has to be set, too: {', '.join(missing)}")
    space = found.space()
    if space:
        lines.append("search_space:")
        lines += [f"  {key}: {values}" for key, values in space.items()]
    else:
        lines += [
            "search_space: {}  # nothing was found: name a key of the config",
            "variants: {plain: []}",
        ]
    metric, mode = found.objective
    lines.append(f"objective: {{metric: {metric or 'val/loss'}, mode: {mode}}}")
    if found.metrics:
        lines.append(f"# logged: {', '.join(sorted(found.metrics)[:20])}")
    else:
        lines.append("# no metric was found: name one that the code logs")
    lines += ["search: grid", "scheduler: none"]
    groups = found.defaults.groups.items()
    known = [f"{name} ({', '.join(o[:6])})" for name, o in groups if o]
    lines += [f"# group {text}" for text in known[:12]]
    return "\n".join(lines) + "\n"

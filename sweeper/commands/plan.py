"""Show what a sweep would take, before it runs: memory, cards, hours, cost, disk."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper import exits

if TYPE_CHECKING:
    from sweeper.planning.plan import Plan

EXAMPLE = "sweeper plan experiments/jersey_t4.yaml --cards 4"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("file", type=Path, help="the experiment file")
    parser.add_argument("overrides", nargs="*", help="key=value, as for run")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--cards", type=int, default=1, help="GPUs to plan for")
    parser.add_argument(
        "--card", default="", help="their type, or X:24 with GiB (default: the file's)"
    )
    parser.add_argument(
        "--cpus-per-card", type=float, default=4.0, help="cores for each GPU"
    )
    parser.add_argument(
        "--step-seconds", type=float, default=0.0, help="of a step alone on a card"
    )
    parser.add_argument(
        "--busy",
        type=_share,
        default=0.5,
        help="share of a card's time that a trial alone takes (0.5)",
    )
    parser.add_argument("--examples", type=int, default=0, help="in the training split")
    parser.add_argument("--epochs", type=int, default=0, help="of a whole trial")
    parser.add_argument(
        "--preflight", action="store_true", help="train one batch of each choice"
    )
    parser.add_argument(
        "--simulate", action="store_true", help="run it in virtual time, too"
    )
    parser.add_argument("--no-memory", action="store_true", help="predict nothing")


def run(args: argparse.Namespace) -> int:
    """Check the file, look, and print; no trial starts."""
    from rich.console import Console

    from sweeper.planning import dry_run, plan_view, rehearsal
    from sweeper.planning import plan as planning
    from sweeper.planning.estimate import Given

    plan = planning.make_plan(args.file, args.overrides, sweeps=args.sweeps)
    if args.preflight:
        return _preflight(plan)
    found = dry_run.preview(
        plan,
        machines=dry_run.Machines(
            cards=args.cards, card=args.card, cpus_per_card=args.cpus_per_card
        ),
        given=Given(
            step_seconds=args.step_seconds,
            examples=args.examples,
            epochs=args.epochs,
            busy=args.busy,
        ),
        has_memory=not args.no_memory,
    )
    rehearsed = rehearsal.rehearse(found) if args.simulate else None
    if args.json:
        data = plan_view.to_json(found)
        if rehearsed is not None:
            data["simulated"] = rehearsal.to_json(rehearsed)
        print(json.dumps(data))
        return exits.FINISHED
    work = [] if rehearsed is None else rehearsal.lines(rehearsed, found)
    Console(highlight=False, soft_wrap=True).print(plan_view.view(found, work))
    return exits.FINISHED


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: above 0, at most 1")
    return share


def _preflight(plan: "Plan") -> int:
    """Print each finding as it comes; 2 where one is not fine."""
    from sweeper.errors import SweeperError
    from sweeper.planning import preflight
    from sweeper.processes import launch

    project, target = plan.experiment.project, plan.experiment.target
    is_fine = True
    with launch.running(project=project, target=target) as address:
        for finding in preflight.preflight(plan, address):
            print(finding, flush=True)
            is_fine = is_fine and finding.is_fine
    return exits.FINISHED if is_fine else SweeperError.exit_code

"""Estimate the memory, cards, hours, cost and disk of a sweep before it runs."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper import exit_codes

if TYPE_CHECKING:
    from sweeper.plan.plan import Plan

EXAMPLE = "sweeper plan experiments/jersey_t4.yaml --cards 4"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="the experiment file")
    parser.add_argument("overrides", nargs="*", help="key=value, as in `run`")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cards", type=int, default=1, help="number of GPUs (1)")
    parser.add_argument(
        "--card",
        default="",
        help="type of the GPUs, or X:24 with GiB (default: the file's)",
    )
    parser.add_argument(
        "--cpus-per-card", type=float, default=4.0, help="cores for each GPU (4)"
    )
    parser.add_argument(
        "--step-seconds",
        type=float,
        default=0.0,
        help="seconds of a training step of a trial that has a GPU to itself",
    )
    parser.add_argument(
        "--busy",
        type=_share,
        default=0.5,
        help="share of a GPU's time that one trial alone takes (0.5)",
    )
    parser.add_argument(
        "--examples", type=int, default=0, help="number of training examples"
    )
    parser.add_argument("--epochs", type=int, default=0, help="epochs of a trial")
    parser.add_argument(
        "--preflight", action="store_true", help="train one batch of each choice"
    )
    parser.add_argument(
        "--no-memory", action="store_true", help="skip the prediction of memory"
    )


def run(args: argparse.Namespace) -> int:
    """Check the file and print its plan; no trial starts."""
    from rich.console import Console

    from sweeper.plan import plan as planning
    from sweeper.plan import plan_view, preview
    from sweeper.plan.estimate import Given

    plan = planning.make_plan(args.file, args.overrides, sweeps=args.sweeps)
    if args.preflight:
        return _preflight(plan)
    shown = preview.preview(
        plan,
        machines=preview.Machines(
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
    if args.json:
        print(json.dumps(plan_view.to_json(shown)))
    else:
        Console(highlight=False, soft_wrap=True).print(plan_view.view(shown))
    return exit_codes.FINISHED


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and at most 1")
    return share


def _preflight(plan: "Plan") -> int:
    """Print each finding as it comes; return 2 if one is not fine."""
    from sweeper.plan import preflight
    from sweeper.project import zygote_client
    from sweeper.system.errors import SweeperError

    project, target = plan.experiment.project, plan.experiment.target
    is_fine = True
    with zygote_client.running(project=project, target=target) as address:
        for finding in preflight.preflight(plan, address):
            print("ok  " if finding.is_fine else "FAIL", finding, flush=True)
            is_fine = is_fine and finding.is_fine
    return exit_codes.FINISHED if is_fine else SweeperError.exit_code

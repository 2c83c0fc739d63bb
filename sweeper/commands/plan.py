"""Estimate the memory, cards, hours, cost and disk of a sweep before it runs."""

import argparse

from rich.console import Console

from sweeper.commands import common
from sweeper.plan import plan as planning
from sweeper.plan import plan_view, preflight, preview
from sweeper.plan.checks import Finding
from sweeper.plan.estimate import Given
from sweeper.plan.plan import Plan
from sweeper.project import zygote_client

EXAMPLE = "sweeper plan experiments/jersey_t4.yaml --cards 4"


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_file(parser, overrides="key=value, as in `run`")
    common.add_json(parser)
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
        common.print_json(plan_view.to_json(shown))
    else:
        Console(highlight=False, soft_wrap=True).print(plan_view.view(shown))
    return 0


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and at most 1")
    return share


def _preflight(plan: Plan) -> int:
    project, target = plan.experiment.project, plan.experiment.target
    with zygote_client.running(project=project, target=target) as address:
        return common.exit_code(map(_print, preflight.preflight(plan, address)))


def _print(finding: Finding) -> bool:
    print("ok  " if finding.is_fine else "FAIL", finding, flush=True)
    return finding.is_fine

"""Run a sweep, or resume it."""

import argparse
from pathlib import Path

from sweeper.driver.prewarm import Prewarm

EXAMPLE = "sweeper run experiments/lr_sweep.yaml budget.trials=4"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="the experiment file")
    parser.add_argument(
        "overrides",
        nargs="*",
        help="key=value: a key of the file, else a Hydra override for every trial",
    )
    parser.add_argument(
        "--fork", default="", metavar="NAME", help="start a new sweep of this name"
    )
    parser.add_argument("--address", default="", help="a running Ray cluster, or auto")
    parser.add_argument("--num-cpus", type=int, help="logical cores of a local Ray")
    parser.add_argument("--num-gpus", type=int, help="logical GPUs of a local Ray")
    parser.add_argument(
        "--card",
        default="",
        help="type of the logical GPUs: T4, or X:24 for a card X with 24 GiB",
    )
    parser.add_argument(
        "--no-preflight",
        action="store_true",
        help="skip the trial batches before the first trial",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("-q", "--quiet", action="store_true", help="print no events")
    how.add_argument(
        "--json", action="store_true", help="print each event as one JSON object"
    )


def run(args: argparse.Namespace) -> int:
    """Plan and run the sweep, then print the leaderboard."""
    with Prewarm() as zygote:
        return _run(args, zygote)


def _run(args: argparse.Namespace, zygote: Prewarm) -> int:
    from rich.console import Console

    from sweeper.plan import plan as planning
    from sweeper.reporting import status, tables

    console = Console(highlight=False, soft_wrap=True, quiet=args.json)
    overrides = [
        *args.overrides,
        *([f"name={args.fork}"] if args.fork else []),
        *(["preflight=false"] if args.no_preflight else []),
    ]
    plan = planning.make_plan(args.file, overrides, sweeps=args.sweeps)
    console.print(planning.headline(plan), markup=False)
    if args.json:
        status.write_json_line("plan", **planning.summary(plan))
    zygote.prepare(plan.experiment)
    # Import Ray and Tune first, so that the live table does not freeze meanwhile.
    from sweeper.driver import driver, summary
    from sweeper.driver.cluster import ClusterOptions

    options = ClusterOptions(
        address=args.address, cpus=args.num_cpus, gpus=args.num_gpus, card=args.card
    )
    options.check()
    with status.display(
        console, quiet=args.quiet, is_json=args.json, total=plan.num_trials
    ) as display:
        sweep, stop = driver.run(
            plan, prewarm=zygote, options=options, display=display, may_exit=True
        )
    console.print(tables.leaderboard_view(sweep))
    resume = summary.resume_command(args.file, overrides, sweeps=args.sweeps)
    console.print(summary.summary(sweep, stop, resume=resume), markup=False)
    code = summary.exit_code(sweep, stop)
    if args.json:
        end = {"stop": str(stop.reason), "exit_code": code, "resume": resume}
        status.write_json_line("end", **end, **status.best_summary(sweep))
    return code

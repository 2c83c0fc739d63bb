"""Run a sweep, or go on with it."""

import argparse
import shlex
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sweeper import exits, leaderboard
from sweeper.commands import sweeps
from sweeper.trial import State, Stop, StopReason, Sweep

EXAMPLE = "sweeper run experiments/lr_sweep.yaml budget.trials=4"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("file", type=Path, help="the experiment file")
    parser.add_argument(
        "overrides",
        nargs="*",
        help="key=value: a key of the file, else a Hydra override for every trial",
    )
    parser.add_argument("--address", default="", help="a running Ray cluster, or auto")
    parser.add_argument("--num-cpus", type=int, help="logical cores of a local Ray")
    parser.add_argument("--num-gpus", type=int, help="logical GPUs of a local Ray")
    parser.add_argument("-q", "--quiet", action="store_true", help="no events")


def run(args: argparse.Namespace) -> int:
    """Plan, drive, and print the leaderboard."""
    from sweeper import driver, live
    from sweeper import plan as planning

    console = Console(highlight=False, soft_wrap=True)
    plan = planning.make_plan(args.file, args.overrides, sweeps=args.sweeps)
    console.print(planning.headline(plan), markup=False)
    options = driver.ClusterOptions(
        address=args.address, cpus=args.num_cpus, gpus=args.num_gpus
    )
    with live.display(console, quiet=args.quiet) as display:
        stop = driver.drive(plan, cluster=options, display=display)
    sweep = sweeps.load(plan.folder)
    driver.write_leaderboard(sweep)
    console.print(live.leaderboard_view(sweep))
    console.print(closing(sweep, stop, resume=resume_command(args)))
    return exit_code(sweep, stop)


def closing(sweep: Sweep, stop: Stop, *, resume: str) -> Text:
    """The last lines of `run`: the best trial, where it is, how to go on."""
    lines = []
    best = leaderboard.best(sweep)
    if best is not None:
        paths = sweep.paths.trial(best.id)
        lines += [f"best {best.id}", f"  checkpoint {paths.best}"]
        lines += [f"  repeat {sweeps.command_of(sweep, best)}"]
    if stop.reason is not StopReason.NONE:
        why = f"{stop.reason}: {stop.message}".removesuffix(": ")
        lines += [f"stopped ({why}); go on with: {resume}"]
    return Text("\n".join(lines))


def resume_command(args: argparse.Namespace) -> str:
    """The command that goes on with what `args` ran: the same one."""
    words = ["python", "-m", "sweeper", "run", str(args.file), *args.overrides]
    if args.sweeps != Path("sweeps"):
        words += ["--sweeps", str(args.sweeps)]
    return shlex.join(words)


def exit_code(sweep: Sweep, stop: Stop) -> int:
    """The code that a shell sees at the end of `run`."""
    if stop.reason is StopReason.INTERRUPTED:
        return exits.INTERRUPTED
    if stop.reason is StopReason.BUDGET:
        return exits.BUDGET
    if any(trial.state is State.FAILED for trial in sweep.trials):
        return exits.FAILED_TRIALS
    return exits.FINISHED

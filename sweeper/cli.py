"""The commands: arguments in, text and an exit code out.

One function a command; each imports what it alone needs, so that `status` never
waits for torch.
"""

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sweeper import leaderboard, spec
from sweeper.arguments import Command, build_parser
from sweeper.errors import SweeperError, SweepNotFoundError, nearest
from sweeper.trial import State, Stop, StopReason, Sweep, Trial, TrialSpec

EXIT_FINISHED = 0
EXIT_FAILED_TRIALS = 3
EXIT_BUDGET = 4
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code.

    A `SweeperError` is one message on standard error; a traceback is a bug of ours.
    """
    args = build_parser(COMMANDS).parse_args(arguments)
    try:
        code: int = args.function(args)
    except SweeperError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.stderr.flush()
        os._exit(EXIT_INTERRUPTED)  # threads of a stopped cluster may still wait
    except BrokenPipeError:
        # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FINISHED
    return code


def cmd_run(args: argparse.Namespace) -> int:
    """Run a sweep, or go on with it."""
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
    sweep = _load(plan.folder)
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
        lines += [f"  repeat {_command_of(sweep, best)}"]
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
        return EXIT_INTERRUPTED
    if stop.reason is StopReason.BUDGET:
        return EXIT_BUDGET
    if any(trial.state is State.FAILED for trial in sweep.trials):
        return EXIT_FAILED_TRIALS
    return EXIT_FINISHED


def cmd_train(args: argparse.Namespace) -> int:
    """Train one trial in this process."""
    from sweeper import training

    overrides = [*args.overrides, *(["test=true"] if args.test else [])]
    return training.train(
        training.make_spec(
            overrides,
            config=Path(args.config),
            target=args.target,
            metric=args.metric,
            mode=args.mode,
            wandb_mode=args.wandb,
            sweeps=args.sweeps,
        )
    )


def cmd_status(args: argparse.Namespace) -> int:
    """Show where a sweep stands."""
    from sweeper import live

    sweep = _find(args)
    if args.json:
        print(json.dumps(live.status_json(sweep)))
        return EXIT_FINISHED
    Console(highlight=False).print(live.status_view(sweep))
    return EXIT_FINISHED


def cmd_best(args: argparse.Namespace) -> int:
    """Show the best trial of a sweep, or one thing of it."""
    from sweeper import live

    sweep = _find(args)
    best = leaderboard.best(sweep)
    if best is None:
        raise SweepNotFoundError(
            f"{sweep.folder}: no trial has a value yet; see `sweeper status`"
        )
    command = _command_of(sweep, best)
    data = live.best_json(sweep, best, command=command)
    if args.json:
        print(json.dumps(data))
    elif args.ckpt:
        print(data["checkpoint"])
    elif args.command:
        print(command)
    elif args.config:
        print(sweep.paths.trial(best.id).config.read_text(encoding="utf-8"), end="")
    else:
        for key, value in data.items():
            print(f"{key}: {value}")
    return EXIT_FINISHED


def cmd_stop(args: argparse.Namespace) -> int:
    """Pause a running sweep, from any terminal that sees its folder."""
    sweep = _find(args)
    if not sweep.is_running:
        print(f"{sweep.experiment.name} is not running")
        return EXIT_FINISHED
    sweep.paths.stop_request.touch()
    print(f"asked {sweep.experiment.name} to pause its trials at their next epoch")
    return EXIT_FINISHED


def cmd_retry(args: argparse.Namespace) -> int:
    """Put failed trials back in the queue of a sweep."""
    from sweeper.requeue import requeue

    sweep = _find(args)
    ids = requeue(sweep, [_trial(sweep, name).id for name in args.trials])
    print(f"{len(ids)} failed trials wait for the next `sweeper run`")
    return EXIT_FINISHED


def cmd_logs(args: argparse.Namespace) -> int:
    """Print the output of a trial, or the events of the driver."""
    sweep = _find(args)
    path = sweep.paths.log
    if args.trial:
        path = sweep.paths.trial(_trial(sweep, args.trial).id).log
    if not path.exists():
        raise SweepNotFoundError(f"{path}: nothing is logged yet")
    with path.open(encoding="utf-8", errors="replace") as file:
        sys.stdout.write(file.read())
        while args.follow:
            time.sleep(0.5)
            sys.stdout.write(file.read())
            sys.stdout.flush()
    return EXIT_FINISHED


def _command_of(sweep: Sweep, trial: Trial) -> str:
    path = sweep.paths.trial(trial.id).spec
    if not path.exists():
        return ""
    return spec.command(TrialSpec.from_json(path.read_text(encoding="utf-8")))


def _find(args: argparse.Namespace) -> Sweep:
    """The sweep that `name` means: a folder, or a name below the sweeps folder."""
    given = Path(args.name)
    if (given / "experiment.yaml").exists():
        return _load(given)
    return _load(args.sweeps / args.name)


def _load(folder: Path) -> Sweep:
    from sweeper import store

    return store.load_sweep(folder)


def _trial(sweep: Sweep, name: str) -> Trial:
    """The trial whose number is `name` or whose id starts with it."""
    for trial in sweep.trials:
        if name == str(trial.number) or trial.id.startswith(name):
            return trial
    ids = [trial.id for trial in sweep.trials]
    raise SweepNotFoundError(f"{sweep.folder}: no trial {name!r}; {nearest(name, ids)}")


COMMANDS: Mapping[str, Command] = {
    "run": cmd_run,
    "train": cmd_train,
    "status": cmd_status,
    "best": cmd_best,
    "logs": cmd_logs,
    "stop": cmd_stop,
    "retry": cmd_retry,
}

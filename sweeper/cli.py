"""The commands: arguments in, text and an exit code out.

One function a command; each imports what it alone needs, so that `status` never
waits for torch.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sweeper import leaderboard, spec
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
    args = build_parser().parse_args(arguments)
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
    console.print(closing(sweep, stop, resume=f"python -m sweeper run {args.file}"))
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


def build_parser() -> argparse.ArgumentParser:
    """The grammar of the command line."""
    parser = argparse.ArgumentParser(
        prog="sweeper",
        description="Experiment sweeps over Hydra + Lightning projects that survive "
        "any kill: the same command goes on.",
    )
    commands = parser.add_subparsers(title="commands", required=True)
    _add_run(commands)
    _add_train(commands)
    for name, function in (
        ("status", cmd_status),
        ("best", cmd_best),
        ("logs", cmd_logs),
    ):
        command = _command(
            commands, name, function, example=f"sweeper {name} lr_sweep"
        )
        command.add_argument("name", help="a sweep's name or folder")
        _add_sweeps(command)
        if name == "logs":
            command.add_argument("trial", nargs="?", default="", help="id or number")
            command.add_argument("-f", "--follow", action="store_true")
            continue
        command.add_argument("--json", action="store_true", help="for programs")
        if name == "best":
            one = command.add_mutually_exclusive_group()
            one.add_argument("--config", action="store_true", help="its config only")
            one.add_argument("--ckpt", action="store_true", help="its checkpoint only")
            one.add_argument("--command", action="store_true", help="how to repeat it")
    return parser


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = _command(
        commands,
        "run",
        cmd_run,
        example="sweeper run experiments/lr_sweep.yaml budget.trials=4",
    )
    run.add_argument("file", type=Path, help="the experiment file")
    run.add_argument(
        "overrides",
        nargs="*",
        help="key=value: a key of the file, else a Hydra override for every trial",
    )
    run.add_argument("--address", default="", help="a running Ray cluster, or auto")
    run.add_argument("--num-cpus", type=int, help="logical cores of a local cluster")
    run.add_argument("--num-gpus", type=int, help="logical GPUs of a local cluster")
    run.add_argument("-q", "--quiet", action="store_true", help="no events")
    _add_sweeps(run)


def _add_train(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    train = _command(
        commands,
        "train",
        cmd_train,
        example="sweeper train model=resnet50 data.batch_size=32",
    )
    train.add_argument("overrides", nargs="*", help="Hydra overrides")
    train.add_argument("--config", default="conf/train.yaml", help="primary config")
    train.add_argument("--target", default="sweeper.vision.train:train")
    train.add_argument("--metric", default="val/acc_top1", help="the objective")
    train.add_argument("--mode", choices=("max", "min"), default="max")
    train.add_argument(
        "--wandb", choices=("auto", "online", "offline", "none"), default="auto"
    )
    train.add_argument("--test", action="store_true", help="test the best checkpoint")
    _add_sweeps(train)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    function: object,
    *,
    example: str,
) -> argparse.ArgumentParser:
    summary = str(function.__doc__).splitlines()[0]
    parser = commands.add_parser(
        name, help=summary, description=summary, epilog=f"example: {example}"
    )
    parser.set_defaults(function=function)
    return parser


def _add_sweeps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sweeps",
        type=Path,
        default=Path(os.environ.get("SWEEPER_SWEEPS", "sweeps")),
        help="folder of all sweeps (default: $SWEEPER_SWEEPS or ./sweeps)",
    )

"""Train one trial in this process; the same command resumes it."""

import argparse
from pathlib import Path

from sweeper.experiment import defaults

EXAMPLE = "sweeper train model=resnet50 data.batch_size=32"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("overrides", nargs="*", help="Hydra overrides")
    parser.add_argument("--config", default=defaults.CONFIG, help="primary config")
    parser.add_argument(
        "--target",
        default="",
        help="module:function (optional only with sweeper's own configs)",
    )
    parser.add_argument("--metric", default=defaults.METRIC, help="the objective")
    parser.add_argument("--mode", choices=("max", "min"), default="max")
    parser.add_argument(
        "--wandb", choices=("auto", "online", "offline", "none"), default="auto"
    )
    parser.add_argument(
        "--seed", type=int, help="the trial's seed (default: that of the config, or 42)"
    )
    parser.add_argument(
        "--threads", type=int, help="threads of torch (default: one for each core)"
    )
    parser.add_argument(
        "--chdir", action="store_true", help="train in the trial's folder"
    )
    parser.add_argument("--test", action="store_true", help="test the best checkpoint")


def run(args: argparse.Namespace) -> int:
    from sweeper.driver import training

    return training.train(
        training.make_spec(
            args.overrides,
            after=["test=true"] if args.test else [],
            config=Path(args.config),
            target=args.target,
            metric=args.metric,
            mode=args.mode,
            wandb_mode=args.wandb,
            sweeps=args.sweeps,
            seed=args.seed,
            threads=args.threads,
            chdir=args.chdir,
        )
    )

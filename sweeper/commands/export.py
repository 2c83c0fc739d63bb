"""Write a sweep as a table or an Optuna study, or one trial as its own folder."""

import argparse
import io
import sys
from pathlib import Path

from sweeper.commands import common
from sweeper.journal import study
from sweeper.journal.record import Sweep
from sweeper.reporting import export
from sweeper.system.errors import SweeperError

EXAMPLE = "sweeper export lr_sweep --format parquet --output lr_sweep.parquet"


def arguments(parser: argparse.ArgumentParser) -> None:
    common.add_name(parser)
    parser.add_argument(
        "--format",
        choices=("csv", "json", "parquet", "tensorboard", "optuna"),
        default="csv",
    )
    parser.add_argument(
        "--table",
        choices=tuple(export.FRAMES),
        default="leaderboard",
        help="one line for each suggestion, trial or epoch (default: leaderboard)",
    )
    parser.add_argument(
        "--output",
        help="file to write (default: standard output); for tensorboard a folder "
        "(default: `tensorboard` in the sweep's folder); for optuna the URL of a "
        "storage, such as sqlite:///shared.db",
    )
    parser.add_argument(
        "--trial",
        nargs=2,
        metavar=("TRIAL", "DIR"),
        help="copy config, checkpoint, ONNX and a model card of a trial (or `best`)",
    )


def run(args: argparse.Namespace) -> None:
    sweep = common.find(args)
    if args.trial:
        name, target = args.trial
        trial = common.find_trial(sweep, name)
        for file in export.copy(sweep, trial, Path(target)):
            print(Path(target) / file)
    elif args.format == "tensorboard":
        folder = Path(args.output or sweep.folder / "tensorboard")
        count = export.write_tensorboard(sweep, folder)
        print(f"{count} trials; look at them: tensorboard --logdir {folder}")
    elif args.format == "optuna":
        if args.output is None:
            raise SweeperError(
                "--format optuna: there is no storage to copy to; pass --output URL, "
                "such as --output sqlite:///shared.db"
            )
        name = study.copy(sweep.paths, args.output)
        print(f"study {name!r} with {len(sweep.trials)} trials is in {args.output}")
    elif args.output is not None:
        Path(args.output).write_bytes(_table(sweep, args))
    elif args.format == "parquet":
        raise SweeperError("--format parquet writes binary data; pass --output FILE")
    else:
        sys.stdout.write(_table(sweep, args).decode())


def _table(sweep: Sweep, args: argparse.Namespace) -> bytes:
    frame = export.storable(export.FRAMES[args.table](sweep))
    if args.format == "csv":
        return bytes(frame.to_csv(index=False).encode())
    if args.format == "json":
        return bytes(frame.to_json(orient="records", indent=1).encode() + b"\n")
    out = io.BytesIO()
    frame.to_parquet(out, index=False)
    return out.getvalue()

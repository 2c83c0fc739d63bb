"""Write a sweep as a table or an Optuna study, or one trial as its own folder."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper import exit_codes
from sweeper.commands import sweeps
from sweeper.system.errors import SweeperError

if TYPE_CHECKING:
    from sweeper.journal.record import Sweep

EXAMPLE = "sweeper export lr_sweep --format parquet --output lr_sweep.parquet"


def arguments(parser: argparse.ArgumentParser) -> None:
    sweeps.add_name(parser)
    parser.add_argument(
        "--format",
        choices=("csv", "json", "parquet", "tensorboard", "optuna"),
        default="csv",
    )
    parser.add_argument(
        "--table",
        choices=("leaderboard", "trials", "curves"),
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


def run(args: argparse.Namespace) -> int:
    from sweeper.reporting import export_trial

    sweep = sweeps.find(args)
    if args.trial:
        name, target = args.trial
        trial = sweeps.find_trial(sweep, name)
        for written in export_trial.copy(sweep, trial, Path(target)):
            print(Path(target) / written)
        return exit_codes.FINISHED
    if args.format == "tensorboard":
        from sweeper.reporting import tensorboard

        folder = Path(args.output or sweep.folder / "tensorboard")
        count = tensorboard.write(sweep, folder)
        print(f"{count} trials; look at them: tensorboard --logdir {folder}")
        return exit_codes.FINISHED
    if args.format == "optuna":
        return _copy_study(sweep, args.output)
    if args.format == "parquet" and args.output is None:
        raise SweeperError("--format parquet writes binary data; pass --output FILE")
    text = _table(args)
    if args.output is None:
        sys.stdout.write(text.decode())
    else:
        Path(args.output).write_bytes(text)
    return exit_codes.FINISHED


def _copy_study(sweep: "Sweep", url: str | None) -> int:
    from sweeper.journal import study

    if url is None:
        raise SweeperError(
            "--format optuna: there is no storage to copy to; pass --output URL, such "
            "as --output sqlite:///shared.db"
        )
    name = study.copy(sweep.paths, url)
    print(f"study {name!r} with {len(sweep.trials)} trials is in {url}")
    return exit_codes.FINISHED


def _table(args: argparse.Namespace) -> bytes:
    import io

    from sweeper.reporting import dataframes

    sweep = sweeps.find(args)
    frame = dataframes.storable(getattr(dataframes, args.table)(sweep))
    if args.format == "csv":
        return bytes(frame.to_csv(index=False).encode())
    if args.format == "json":
        return bytes(frame.to_json(orient="records", indent=1).encode() + b"\n")
    out = io.BytesIO()
    frame.to_parquet(out, index=False)
    return out.getvalue()

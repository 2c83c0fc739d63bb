"""Write a sweep as a table, or one trial as a self-contained folder."""

import argparse
import sys
from pathlib import Path

from sweeper import exits
from sweeper.commands import sweeps
from sweeper.errors import SweeperError

EXAMPLE = "sweeper export lr_sweep --format parquet --output lr_sweep.parquet"


def arguments(parser: argparse.ArgumentParser) -> None:
    sweeps.add_name(parser)
    parser.add_argument(
        "--format", choices=("csv", "json", "parquet", "tensorboard"), default="csv"
    )
    parser.add_argument(
        "--table",
        choices=("leaderboard", "trials", "curves"),
        default="leaderboard",
        help="one line for each suggestion, trial or epoch (default: leaderboard)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="file to write (default: standard output); for tensorboard a folder "
        "(default: `tensorboard` in the sweep's folder)",
    )
    parser.add_argument(
        "--trial",
        nargs=2,
        metavar=("TRIAL", "DIR"),
        help="copy config, checkpoint, ONNX and a model card of a trial (or `best`)",
    )


def run(args: argparse.Namespace) -> int:
    from sweeper.views import export_trial

    sweep = sweeps.find(args)
    if args.trial:
        name, target = args.trial
        trial = sweeps.find_trial(sweep, name)
        for written in export_trial.copy(sweep, trial, Path(target)):
            print(Path(target) / written)
        return exits.FINISHED
    if args.format == "tensorboard":
        from sweeper.views import tensorboard

        folder = args.output or sweep.folder / "tensorboard"
        count = tensorboard.write(sweep, folder)
        print(f"{count} trials; look at them: tensorboard --logdir {folder}")
        return exits.FINISHED
    if args.format == "parquet" and args.output is None:
        raise SweeperError("--format parquet writes binary data; pass --output FILE")
    text = _table(args)
    if args.output is None:
        sys.stdout.write(text.decode())
    else:
        args.output.write_bytes(text)
    return exits.FINISHED


def _table(args: argparse.Namespace) -> bytes:
    import io

    from sweeper.views import dataframes

    sweep = sweeps.find(args)
    frame = dataframes.storable(getattr(dataframes, args.table)(sweep))
    if args.format == "csv":
        return bytes(frame.to_csv(index=False).encode())
    if args.format == "json":
        return bytes(frame.to_json(orient="records", indent=1).encode() + b"\n")
    out = io.BytesIO()
    frame.to_parquet(out, index=False)
    return out.getvalue()

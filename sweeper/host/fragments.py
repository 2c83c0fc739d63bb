"""What W&B's files of one run hold, read with wandb's own reader.

Each start of a trial leaves one file, a fragment of the trial's run. Nothing here
writes one or uploads it.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NAMES = ("offline-run-*", "run-*")  # of folders; the second ones were online


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """One start of a run.

    Attributes:
        file: the `.wandb` file.
        run: the record that opened it: run_id, run_group, job_type, tags, start_time;
            empty in a fragment that was killed before it was written.
        rows: history, a mapping each, `_step` among the keys.
        is_ended: whether the run was closed; else its process was killed.
        damage: what the reader could not read; "" for a sound file.
    """

    file: Path
    run: Mapping[str, object]
    rows: tuple[Mapping[str, object], ...]
    is_ended: bool
    damage: str = ""

    @property
    def started(self) -> str:
        """When it began, in a form that sorts."""
        folder = self.file.parent.name.removeprefix("offline-")  # run-DATE_TIME-ID
        return f"{folder} {self.run.get('start_time', '')}"


def find(folder: Path) -> list[Fragment]:
    """Fragments below `folder`/wandb, in order of their start."""
    files = [
        file for name in NAMES for file in folder.glob(f"wandb/{name}/run-*.wandb")
    ]
    return sorted(map(read, files), key=lambda fragment: fragment.started)


def read(file: Path) -> Fragment:
    """One fragment, as far as it can be read."""
    from wandb.util import get_core_path

    command = [get_core_path(), "leet", "inspect", "--json", "--no-observability"]
    done = subprocess.run(
        [*command, "--run-file", str(file), str(file.parent.parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    run: Mapping[str, object] = {}
    rows = []
    is_ended = False
    for line in done.stdout.splitlines():
        record = json.loads(line)
        kind = record["type"]
        if kind == "run" and not run:
            run = record["run"]
        elif kind == "history":
            rows.append(record["history"]["item"])
        is_ended = is_ended or kind == "exit"
    damage = "; ".join(done.stderr.split("\n")).strip("; ")
    return Fragment(
        file=file, run=run, rows=tuple(rows), is_ended=is_ended, damage=damage
    )

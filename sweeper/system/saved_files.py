"""The `saved.jsonl` of a trial, which records the epoch of each checkpoint's weights.

A line is written before and after a file is replaced, and at each report. A file gets
the epoch of the report at the same position in the training (steps and batches),
whatever its name, or of the next report. Files whose write was interrupted are left
out, since their state is unknown. So are files that are no longer on disk.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from sweeper.system import disk
from sweeper.system.paths import TrialPaths, files_below

Position: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedFile:
    """One checkpoint file.

    Attributes:
        position: the position in the training at which it was saved.
        epoch: the epoch of its weights, in the trial's count; 0 before the epoch's
            report.
        is_final: whether it was saved at the position of the epoch's report, not
            earlier within the epoch.
        value: the objective measured by a validation within the epoch just before.
    """

    path: Path
    position: Position
    epoch: int = 0
    is_final: bool = False
    value: float | None = None


def begin(paths: TrialPaths, *files: Path) -> None:
    """Record that files are about to be replaced."""
    _append(paths, {"replacing": [_name(paths, file) for file in files]})


def end(
    paths: TrialPaths, file: Path, position: Position, *, value: float | None = None
) -> None:
    """Record that a file was saved."""
    line = {"saved": _name(paths, file), "at": position, "value": value}
    _append(paths, line)


def end_rotation(
    paths: TrialPaths, file: Path, position: Position, *, moved_to: Path
) -> None:
    """Record that a file was saved, and its previous version renamed."""
    moved = {"moved": [_name(paths, file), _name(paths, moved_to)]}
    _append(paths, moved, {"saved": _name(paths, file), "at": position, "value": None})


def begin_fit(paths: TrialPaths) -> None:
    """Record that a fit starts from its beginning, so positions restart at zero."""
    _append(paths, {"fit": 1})


def report(paths: TrialPaths, epoch: int, position: Position) -> None:
    """Record that an epoch was reported."""
    _append(paths, {"epoch": epoch, "at": position})


def read(paths: TrialPaths) -> tuple[SavedFile, ...]:
    """Return the recorded files that are on disk, in the order of their saves.

    Links are left out; their targets are listed.
    """
    known: dict[str, SavedFile] = {}
    before: dict[str, SavedFile] = {}
    last: tuple[int, Position] = (0, ())
    for row in _rows(paths.saved):
        match row:
            case {"fit": _}:
                last = (0, ())
                known = {name: file for name, file in known.items() if file.epoch}
            case {"replacing": [*names]}:
                before = {name: known.pop(name) for name in names if name in known}
            case {"moved": [old, new]}:
                if old in before:
                    known[new] = replace(before[old], path=paths.folder / new)
            case {"saved": str(name), "at": [*at], "value": value}:
                known[name] = SavedFile(
                    path=paths.folder / name,
                    position=tuple(at),
                    value=value,
                    epoch=last[0] if tuple(at) == last[1] else 0,
                    is_final=tuple(at) == last[1],
                )
            case {"epoch": int(epoch), "at": [*at]}:
                last = (epoch, tuple(at))
                known = {n: _reported(file, *last) for n, file in known.items()}
    return tuple(
        file
        for file in known.values()
        if file.path.exists() and not file.path.is_symlink()
    )


def checkpoints(paths: TrialPaths) -> list[Path]:
    """Return the project's own checkpoint files on disk, whatever their folder."""
    below = {p for p in files_below(paths.checkpoints) if p.suffix == ".ckpt"}
    below |= _names(paths)
    return sorted(
        path
        for path in below
        if paths.resume not in path.parents and (path.exists() or path.is_symlink())
    )


def _names(paths: TrialPaths) -> set[Path]:
    """Return every file that the record mentions, on disk or not."""
    found: set[Path] = set()
    for row in _rows(paths.saved):
        mentioned = [*row.get("replacing", ()), row.get("saved")]
        found |= {paths.folder / name for name in mentioned if isinstance(name, str)}
    return found


def _reported(file: SavedFile, epoch: int, position: Position) -> SavedFile:
    if file.epoch:
        return file
    return replace(file, epoch=epoch, is_final=file.position == position)


def _name(paths: TrialPaths, file: Path) -> str:
    return str(file.relative_to(paths.folder))


def _append(paths: TrialPaths, *rows: dict[str, Any]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    disk.append(paths.saved, text.encode())


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    lines: Sequence[bytes] = path.read_bytes().splitlines() if path.exists() else ()
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue  # torn
        if isinstance(row, dict):
            yield row

"""Configs, tracebacks, pictures and confusion matrices in the trials' folders.

Missing and damaged files are left out; they are not errors.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from sweeper.journal.record import Sweep
from sweeper.statistics.leaderboard import Row
from sweeper.system.paths import TrialPaths
from sweeper.system.text import value_cell

MAX_SIDE = 560  # pixels of a thumbnail
MAX_PICTURES = 6  # pictures per trial
MAX_CLASSES = 120  # classes; a larger confusion matrix is not drawn
MAX_FILE_BYTES = 20_000_000
MAX_TRACEBACK = 4000  # characters, from its end

SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Config = Mapping[str, str]


def config(paths: TrialPaths) -> Config:
    """Return the composed config by dotted keys, without the paths of the trial."""
    try:
        # The safe loader in C reads a thousand configs in two seconds.
        text = paths.config.read_text(encoding="utf-8")
        data = yaml.load(text, Loader=SafeLoader)  # noqa: S506  # a safe loader
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    flat: dict[str, str] = {}
    _flatten("", data, flat)
    return {k: v for k, v in flat.items() if paths.folder.name not in v}


def _flatten(prefix: str, node: object, flat: dict[str, str]) -> None:
    if isinstance(node, dict) and node:
        for key, child in node.items():
            _flatten(f"{prefix}.{key}" if prefix else str(key), child, flat)
    elif isinstance(node, list | dict):
        flat[prefix] = json.dumps(node, default=str)
    elif prefix:
        flat[prefix] = value_cell(node)


def differences(base: Config, other: Config) -> list[tuple[str, str, str]]:
    """Return (key, value in `base`, value in `other`) of each difference, by key.

    >>> differences({"a": "1", "b": "2"}, {"a": "1", "b": "3"})
    [('b', '2', '3')]
    """
    keys = sorted(base.keys() | other.keys())
    pairs = [(key, base.get(key, "-"), other.get(key, "-")) for key in keys]
    return [(key, old, new) for key, old, new in pairs if old != new]


def traceback_text(paths: TrialPaths) -> str:
    """Return the end of the last traceback; "" if there is none."""
    try:
        text = paths.error.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text[-MAX_TRACEBACK:].strip()


def pictures(paths: TrialPaths) -> list[tuple[str, str]]:
    """Return names and data URLs of thumbnails of a trial's pictures."""
    files = sorted(paths.artifacts.glob("*.png"))[:MAX_PICTURES]
    thumbnails = [(path.stem, thumbnail(path)) for path in files]
    return [(name, url) for name, url in thumbnails if url]


def thumbnail(path: Path) -> str:
    """Return a small copy of a picture as a data URL; "" if it is not a picture."""
    from PIL import Image

    if path.stat().st_size > MAX_FILE_BYTES:
        return ""
    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""
    small.thumbnail((MAX_SIDE, MAX_SIDE))
    out = io.BytesIO()
    small.save(out, format="WEBP", quality=72)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()


def confusion(sweep: Sweep, rows: Sequence[Row]) -> dict[str, object] | None:
    """Return a confusion matrix from the best three rows; None if there is none.

    A line has a true class, and the count and share of each predicted class.
    """
    for trial in (trial for row in rows[:3] for trial in row.trials):
        path = sweep.paths.trial(trial.id).artifacts / "confusion_matrix.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            classes = [str(name) for name in data["classes"]]
            counts = [[int(cell) for cell in line] for line in data["counts"]]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        is_square = {len(counts), *map(len, counts)} == {len(classes)}
        if is_square and len(classes) <= MAX_CLASSES:
            shares = [[n / max(1, sum(line)) for n in line] for line in counts]
            lines = [
                (name, list(zip(line, of_line, strict=True)))
                for name, line, of_line in zip(classes, counts, shares, strict=True)
            ]
            return {"id": trial.id, "classes": classes, "lines": lines}
    return None

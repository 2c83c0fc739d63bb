"""What the report takes from the trials' folders: tracebacks and pictures.

A file that is missing or damaged leaves a gap in the report and never an error.
"""

import base64
import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image

from sweeper.host.paths import TrialPaths
from sweeper.statistics.row import Row
from sweeper.storage import handed_out
from sweeper.trial import Sweep, TrialRecord

MAX_SIDE = 560  # pixels of a thumbnail
MAX_PICTURES = 6  # of one trial
MAX_CLASSES = 120  # of a confusion matrix that is drawn
MAX_FILE_BYTES = 20_000_000
MAX_TRACEBACK = 4000  # characters, from its end


def traceback_text(paths: TrialPaths) -> str:
    """The end of the last traceback; "" without one."""
    try:
        text = paths.error.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text[-MAX_TRACEBACK:].strip()


def checkpoint(sweep: Sweep, trial: TrialRecord) -> str:
    """Return a trial's checkpoint as HTML, with its own value; "" without one."""
    found = handed_out.find(sweep, trial)
    if found is None:
        return ""
    path = escape(str(found.path.relative_to(sweep.folder)))
    shown = escape(found.text(sweep.experiment.objective.metric))
    return f"<p>checkpoint <code>{path}</code> ({shown})</p>"


def pictures(paths: TrialPaths) -> list[tuple[str, str]]:
    """Name and data URL of a trial's pictures, as thumbnails."""
    found = sorted(paths.artifacts.glob("*.png"))[:MAX_PICTURES]
    thumbnails = [(path.stem, thumbnail(path)) for path in found]
    return [(name, url) for name, url in thumbnails if url]


def thumbnail(path: Path) -> str:
    """A small copy of a picture as a data URL; "" where it is no picture."""
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
    """Classes and counts [true][predicted] of the best trial that stored them."""
    for row in rows[:3]:
        for trial in row.trials:
            path = sweep.paths.trial(trial.id).artifacts / "confusion_matrix.json"
            try:
                data = json.loads(path.read_text(encoding="utf-8"))
                classes = [str(name) for name in data["classes"]]
                counts = [[int(cell) for cell in line] for line in data["counts"]]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            is_square = all(len(line) == len(classes) for line in counts)
            if is_square and len(counts) == len(classes) <= MAX_CLASSES:
                return {"id": trial.id, "classes": classes, "counts": counts}
    return None

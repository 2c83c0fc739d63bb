"""Calls of a project's predictor in a separate process.

`python -m sweeper.project.predictor` reads one JSON object from standard input and
writes one to the file descriptor that the object names. The predictor's output stays on
the standard streams.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sweeper.system.errors import TargetError


def predict(
    name: str, checkpoint: Path, images: Sequence[Path]
) -> list[tuple[str, float]]:
    """Return the class of each image and its probability.

    Args:
        name: "module:function", importable from the working directory.

    Raises:
        TargetError: the function does not exist, or the predictor rejects a file.
    """
    with tempfile.TemporaryFile() as answer:  # of any length, unlike a pipe
        request = {
            "name": name,
            "checkpoint": str(checkpoint),
            "images": [str(image) for image in images],
            "answer": answer.fileno(),
        }
        done = subprocess.run(
            [sys.executable, "-P", "-m", "sweeper.project.predictor"],
            input=json.dumps(request).encode(),
            pass_fds=[answer.fileno()],
            check=False,
        )
        answer.seek(0)
        text = answer.read()
    if not text:
        raise TargetError(
            f"--predictor: {name!r}: its process ended with {done.returncode} and "
            "gave no answer; see its output above"
        )
    result = json.loads(text)
    if "error" in result:
        raise TargetError(result["error"])
    return [(str(name), float(p)) for name, p in result["predictions"]]


def _answer(request: dict[str, object]) -> dict[str, object]:
    sys.path.insert(0, os.getcwd())
    name = str(request["name"])
    module, _, function = name.partition(":")
    try:
        predictor = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        return {
            "error": f"--predictor: {name!r}: {error}; it must be module:function, "
            "importable from the working directory"
        }
    images = [Path(str(image)) for image in request["images"]]  # type: ignore[attr-defined]  # a list
    try:
        predictions = predictor(Path(str(request["checkpoint"])), images)
    except ValueError as error:  # raised by a predictor for a file
        return {"error": str(error)}
    return {"predictions": [(str(name), float(p)) for name, p in predictions]}


if __name__ == "__main__":
    order = json.load(sys.stdin)
    with os.fdopen(order["answer"], "w", encoding="utf-8") as answer_file:
        json.dump(_answer(order), answer_file)

"""A project's predictor, called in a process of its own."""

from pathlib import Path

import pytest

from sweeper.project import predictor
from sweeper.system.errors import TargetError

PROJECT = """
import os

def predict(checkpoint, images):
    print("a line on standard output")
    return [(image.name, 0.5) for image in images]

def refuse(checkpoint, images):
    raise ValueError(f"{checkpoint}: torn")

def leave(checkpoint, images):
    os._exit(3)
"""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.py").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)


@pytest.mark.timeout(120)
def test_an_answer_may_be_longer_than_a_pipe_holds() -> None:
    images = [Path(f"{number:06}.png") for number in range(10_000)]
    answer = predictor.predict("own:predict", Path("best.ckpt"), images)
    assert answer == [(image.name, 0.5) for image in images]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own:refuse", "^best.ckpt: torn$"),
        ("own:leave", "'own:leave': its process ended with 3"),
        ("own:missing", "--predictor: 'own:missing': "),
    ],
)
def test_what_ends_a_predictor_is_one_error(name: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        predictor.predict(name, Path("best.ckpt"), [Path("a.png")])

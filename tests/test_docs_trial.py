"""The page on the trial contract shows code that a test sweeps."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_plain_loop_of_the_page_is_the_one_that_is_swept() -> None:
    loop = (ROOT / "tests" / "strangers" / "plainloop" / "loop.py").read_text()
    assert f"```python\n{loop}```" in (ROOT / "docs" / "trial.md").read_text()

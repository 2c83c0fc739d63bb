"""Every claim of docs/reliability.md names a test that is there."""

import re
from pathlib import Path

from tests.e2e.crash_report import BEGIN, END

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reliability.md"


def test_every_claim_names_a_test_that_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    defined = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(named) > 30
    assert named <= defined, named - defined


def test_every_row_of_claims_names_one() -> None:
    before, _, after = PAGE.read_text().partition(BEGIN)
    text = before + after.partition(END)[2]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    headers = ("| claim |", "| killed |", "| kind |")
    claims = [row for row in rows if not row.startswith(headers)]
    assert all("test_" in row or "the same |" in row for row in claims), claims

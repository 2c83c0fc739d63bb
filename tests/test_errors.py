"""Every error that a user can fix has its message in docs/errors.md."""

from pathlib import Path

import pytest

from tests.error_catalogue import CASES, message, messages_on_page


def test_the_catalogue_has_every_case() -> None:
    assert list(messages_on_page()) == list(CASES)


@pytest.mark.parametrize("case", CASES)
def test_the_page_has_the_message_that_is_printed(case: str, tmp_path: Path) -> None:
    assert message(case, tmp_path) == messages_on_page()[case], "run: make docs"

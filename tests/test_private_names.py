"""Private interfaces of other libraries do not become more."""

from tests import private_names

LIMIT = 50


def test_no_private_name_is_added_and_each_has_its_library() -> None:
    used = private_names.by_library()
    assert "?" not in used, f"add to LIBRARIES of tests/private_names.py: {used['?']}"
    assert sum(map(len, used.values())) <= LIMIT, "python -m tests.private_names"


def test_a_trials_private_names_are_in_compat_only() -> None:
    used = private_names.by_library()
    users = {m for names in used.values() for module in names.values() for m in module}
    trial = {m for m in users if m.startswith("callbacks.")}
    assert trial <= {"callbacks.compat.lightning", "callbacks.compat.torch"}

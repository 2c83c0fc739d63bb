"""Private interfaces of other libraries do not become more."""

from tests import private_names

LIMIT = 50


def test_no_private_name_is_added_and_each_has_its_library() -> None:
    used = private_names.by_library()
    assert "?" not in used, f"add to LIBRARIES of tests/private_names.py: {used['?']}"
    assert sum(map(len, used.values())) <= LIMIT, "python -m tests.private_names"


def test_private_names_of_libraries_are_in_compat_only() -> None:
    used = private_names.by_library()
    users = {
        module
        for library, names in used.items()
        if library != "stdlib"
        for modules in names.values()
        for module in modules
    }
    assert {module.rpartition("compat.")[1] for module in users} == {"compat."}

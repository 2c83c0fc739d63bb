"""A database in place of the journal's file: where it lies.

It knows URLs and opens nothing.
"""

from pathlib import Path

SQLITE = "sqlite:///"


def url(given: str, folder: Path) -> str:
    """The URL of an experiment file; SQLite's relative path starts at the sweep.

    >>> url("sqlite:///journal.db", Path("/sweeps/lr"))
    'sqlite:////sweeps/lr/journal.db'
    >>> url("postgresql://host/db", Path("/sweeps/lr"))
    'postgresql://host/db'
    """
    if not given.startswith(SQLITE):
        return given
    return SQLITE + str(folder.absolute() / given.removeprefix(SQLITE))


def is_inside(given: str, folder: Path) -> bool:
    """Whether the database moves along with the sweep's folder."""
    inside = file(given, folder)
    return given.startswith(SQLITE) and folder.absolute() in inside.parents


def file(given: str, folder: Path) -> Path:
    """The file of a SQLite URL; for a server, the folder, which is there."""
    if not given.startswith(SQLITE):
        return folder
    return folder.absolute() / given.removeprefix(SQLITE)


def place(given: str, folder: Path) -> Path:
    """The folder on whose disk the database lies; for a server, the sweep's."""
    found = file(given, folder)
    return found if found == folder else found.parent

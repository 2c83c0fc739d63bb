"""A database in place of the journal's file: where it lies.

It knows URLs and opens nothing.
"""

from pathlib import Path

from sweeper.errors import ConfigError

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


def check(given: str, folder: Path) -> None:
    """Refuse a URL that no start could open, without opening or making anything.

    Args:
        folder: of the sweep, which need not exist yet.

    Raises:
        ConfigError: it is no URL, its driver is not installed, or it lies nowhere.
    """
    if given.startswith(SQLITE):
        parent = file(given, folder).parent
        if parent != folder.absolute() and not parent.is_dir():
            raise ConfigError(
                f"{given!r}: there is no folder {parent}; a relative path starts at "
                "the sweep's folder; write sqlite:///journal.db"
            )
        return
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        make_url(given).get_dialect().import_dbapi()
    except (SQLAlchemyError, ImportError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{given.partition('://')[0]!r} cannot be a database: {reason}; write a "
            "URL such as postgresql://host/name and install its driver, or remove it"
        ) from error

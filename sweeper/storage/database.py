"""A database in place of the journal's file: where it lies and how it is opened.

It knows URLs; the rows are Optuna's.
"""

from pathlib import Path

from optuna.distributions import BaseDistribution
from optuna.exceptions import OptunaError
from optuna.storages import RDBStorage
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from sweeper.errors import JournalError

SQLITE = "sqlite:///"
UNREADABLE = (ImportError, RuntimeError, ValueError, SQLAlchemyError, OptunaError)
BUSY_SECONDS = 60  # SQLite's wait for another process of the same sweep


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


class _Database(RDBStorage):
    """Optuna's, but that an edit may add a value to the choices of a parameter.

    Each row has the distribution that it was drawn from; Optuna asks that the next
    row has the same one.
    """

    def _set_trial_param_without_commit(
        self,
        session: Session,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        super()._set_trial_param_without_commit(
            session,
            trial_id,
            param_name,
            param_value_internal,
            distribution,
            previous_distribution=distribution,
        )


def open_url(found: str) -> RDBStorage:
    """Optuna's storage over a database, made where it is missing.

    Raises:
        JournalError: it cannot be opened.
    """
    options = {"timeout": BUSY_SECONDS} if found.startswith(SQLITE) else {}
    try:
        return _Database(found, engine_kwargs={"connect_args": options})
    except UNREADABLE as error:
        shown = found.partition("://")[0]
        raise JournalError(
            f"storage: the {shown} database cannot be opened: {error}"
        ) from error

"""A study in a database, opened: the rows are Optuna's.

SQLAlchemy takes longer to import than a small journal to read, so only a sweep with a
database imports this.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import OptunaError, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from sweeper.errors import JournalError
from sweeper.host import disk
from sweeper.storage.database import SQLITE, place, url

UNREADABLE = (ImportError, RuntimeError, ValueError, SQLAlchemyError, OptunaError)
REFUSED = (OperationalError, StorageInternalError)  # a full disk, among others
BUSY_SECONDS = 60  # SQLite's wait for another process of the same sweep


def _patient(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that writes in one transaction, and waits where the disk is full."""

    @functools.wraps(method)
    def write(self: "_Database", *args: object, **kwargs: object) -> object:
        def attempt() -> object:
            try:
                return method(self, *args, **kwargs)
            except REFUSED:
                # A connection that was opened on a read-only disk stays read-only.
                self.engine.dispose()
                raise

        return disk.patiently(attempt, folder=self.folder, errors=REFUSED)

    return write


class _Database(RDBStorage):
    """Optuna's, but that it waits for its disk, and that a parameter may grow.

    Each row has the distribution that it was drawn from; Optuna asks that the next
    row has the same one, where an edit may have added a value to the choices.

    Args:
        url: of SQLAlchemy.
        folder: whose disk its file is on.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        options = {"timeout": BUSY_SECONDS} if url.startswith(SQLITE) else {}
        super().__init__(url, engine_kwargs={"connect_args": options})

    create_new_study = _patient(RDBStorage.create_new_study)
    set_study_user_attr = _patient(RDBStorage.set_study_user_attr)
    set_study_system_attr = _patient(RDBStorage.set_study_system_attr)
    _create_new_trial = _patient(RDBStorage._create_new_trial)
    set_trial_state_values = _patient(RDBStorage.set_trial_state_values)
    set_trial_intermediate_value = _patient(RDBStorage.set_trial_intermediate_value)
    set_trial_user_attr = _patient(RDBStorage.set_trial_user_attr)
    set_trial_system_attr = _patient(RDBStorage.set_trial_system_attr)

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


def open_url(given: str, folder: Path) -> RDBStorage:
    """Optuna's storage over the database of a sweep, made where it is missing.

    Raises:
        JournalError: it cannot be opened.
    """
    found, folder = url(given, folder), place(given, folder)
    try:
        return disk.patiently(
            lambda: _Database(found, folder), folder=folder, errors=REFUSED
        )
    except UNREADABLE as error:
        shown, reason = found.partition("://")[0], str(error).splitlines()[0]
        raise JournalError(
            f"storage: the {shown} database cannot be opened: {reason}"
        ) from error

"""The errors of sweeper; all of them derive from `SweeperError`.

SweeperError                 exit code 2: the user can fix it
+ ExperimentError            the experiment file; carries file and line
+ ConfigError                the project's Hydra configs
+ TargetError                `target:` cannot be imported or called
+ MetricError                the objective is not among the logged metrics
+ DemandError                a trial asks for more than one device has
+ SweepNotFoundError         no sweep or trial of that name
+ JournalError               the journal is damaged or cannot be written
  + LockedError              another driver holds the sweep (exit code 5)
  + ExperimentChangedError   the file describes another sweep (exit code 6)
+ AddressError               no Ray cluster answers at the given address
+ ClusterLostError           Ray or the journal's process died (exit code 7)

Form of a message: place: the wrong value and its fault; the rule; the next step.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path


class SweeperError(Exception):
    """An error that the user can fix; the message says how."""

    exit_code = 2


class ExperimentError(SweeperError):
    """An error in a line of an experiment file.

    Args:
        path: the experiment file.
        line: 1-based line, 0 for the file as a whole.
        message: the fault, the rule and the next step.
    """

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")
        self.path = path
        self.line = line
        self.message = message


class ConfigError(SweeperError):
    """A Hydra config that does not compose, or a key that it does not have."""


class TargetError(SweeperError):
    """A target that cannot be imported or called."""


class MetricError(SweeperError):
    """An objective that the trial never logged."""


class DemandError(SweeperError):
    """A trial that no device of the cluster can hold."""


class SweepNotFoundError(SweeperError):
    """A sweep or trial that the given folder does not have."""


class JournalError(SweeperError):
    """A journal that is damaged or cannot be written."""


class LockedError(JournalError):
    """A sweep whose driver is still alive."""

    exit_code = 5


class ExperimentChangedError(JournalError):
    """An experiment file that no longer describes the stored sweep."""

    exit_code = 6


class AddressError(SweeperError):
    """An address at which no cluster answers."""


class ClusterLostError(SweeperError):
    """A driver whose cluster or journal's process died; the sweep loses nothing."""

    exit_code = 7

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}; nothing is lost: the same command resumes the trials"
        )


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return a hint for an unknown name: the nearest known names, or else all of them.

    >>> nearest("sead", ["seed", "model"])
    "did you mean 'seed'?"
    >>> nearest("xyz", ["seed", "model"])
    'known: model, seed'
    >>> nearest("xyz", [])
    'there are none'
    """
    known = sorted(set(candidates))
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    if not known:
        return "there are none"
    shown = known[:20]
    return "known: " + ", ".join(shown) + (", ..." if len(known) > 20 else "")

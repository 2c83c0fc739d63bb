"""Progress of a trial over all of its fits."""

from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """Epochs and steps of a trial, summed over its fits.

    Attributes:
        fit: number of the running fit, from 1; 0 before the first one.
        epochs: the last epoch that the trial has trained.
        steps: the last step of its loggers.
        epochs_before: epochs of the fits before the running one.
        steps_before: steps of the fits before the running one.
        validations: number of validations that were a report each.
    """

    fit: int = 0
    epochs: int = 0
    steps: int = 0
    epochs_before: int = 0
    steps_before: int = 0
    validations: int = 0

    def begin(self, *, epoch: int, step: int) -> None:
        """Set the start of a fit that has no checkpoint of ours.

        The first fit keeps its own numbers: it may start from a file of the project's.
        """
        is_first = self.fit == 1
        self.resume(
            epochs_before=0 if is_first else self.epochs - epoch,
            steps_before=0 if is_first else self.steps - step,
        )

    def resume(self, *, epochs_before: int, steps_before: int) -> None:
        """Set the fits before the running one, as its checkpoint counts them."""
        self.epochs_before, self.steps_before = epochs_before, steps_before

    def reach(self, *, epoch: int, step: int) -> None:
        """Count the epochs and steps that the running fit has done."""
        self.epochs = self.epochs_before + epoch
        self.steps = self.steps_before + step

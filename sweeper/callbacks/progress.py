"""Progress of a trial over all of its fits."""

from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """Epochs and steps of a trial, counted on from one fit to the next.

    Attributes:
        fit: number of the running fit, from 1; 0 before the first one.
        epochs: the last epoch that the trial has trained.
        steps: the same for the Trainer's steps.
        epochs_before: what to add to the running fit's own epochs.
        steps_before: the same for its steps.
        validations: validations that were reported each by itself.
    """

    fit: int = 0
    epochs: int = 0
    steps: int = 0
    epochs_before: int = 0
    steps_before: int = 0
    validations: int = 0

    def begin(self, *, epoch: int, step: int) -> None:
        """Set where the running fit stands as it begins without a checkpoint of ours.

        The first fit keeps its own numbers: it may start from a file of the project's.
        """
        is_first = self.fit == 1
        self.resume(
            epochs_before=0 if is_first else self.epochs - epoch,
            steps_before=0 if is_first else self.steps - step,
        )

    def resume(self, *, epochs_before: int, steps_before: int) -> None:
        """Set what the checkpoint of the running fit says of the fits before it."""
        self.epochs_before, self.steps_before = epochs_before, steps_before

    def reach(self, *, epoch: int, step: int) -> None:
        """Count epochs and steps that the running fit has done."""
        self.epochs = self.epochs_before + epoch
        self.steps = self.steps_before + step

"""The next trial and early stopping, as functions of the history."""

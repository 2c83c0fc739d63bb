"""Search algorithms and schedulers, as functions of the history."""

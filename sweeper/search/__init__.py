"""What to try next and what to stop: a function of the history."""

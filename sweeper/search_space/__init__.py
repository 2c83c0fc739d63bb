"""Which points there are, and how each is written."""

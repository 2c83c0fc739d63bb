"""The driver of a sweep, its Ray cluster, and the slots that run trials."""

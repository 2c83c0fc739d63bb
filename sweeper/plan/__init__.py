"""A sweep before it runs: checks, estimates and the preview of `sweeper plan`."""

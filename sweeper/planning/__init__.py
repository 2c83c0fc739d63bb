"""A sweep before it runs: checks, estimates, simulation."""

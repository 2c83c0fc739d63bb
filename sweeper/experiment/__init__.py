"""Experiment file and search space."""

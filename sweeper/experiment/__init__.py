"""The experiment file and its search space."""

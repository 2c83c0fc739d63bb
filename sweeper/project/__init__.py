"""Access to the user's project: its target, its Hydra configs and its code."""

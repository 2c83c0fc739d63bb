"""The user's project: its target, its Hydra configs, its code."""

"""Callbacks of the vision project, named by conf/callbacks.

They observe batches and outputs. None of them draws from the global generator, loads
extra data or changes the training steps.
"""

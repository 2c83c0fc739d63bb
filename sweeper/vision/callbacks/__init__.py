"""Callbacks of a training of the vision project, named by conf/callbacks.

They watch batches and outputs as they pass: none draws from the global generator,
asks a loader for more, or changes what is learnt.
"""

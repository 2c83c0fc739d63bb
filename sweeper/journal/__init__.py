"""The journal of a sweep and the decisions that follow from it."""

"""Exact resume: a fit that was killed continues and ends as if it had not been."""


class Paused(BaseException):
    """The end of a trial at a boundary of its epochs, its checkpoint written.

    A trial ends so if the sweep pauses it, or if the scheduler stopped it before a fit.
    It is a BaseException so that no `except Exception` of a project catches it.
    """

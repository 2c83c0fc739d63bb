"""One HTML file that shows a whole sweep, without a network and without a server.

It reads a `Sweep` and the files of its trials' folders, never the journal.
"""

from sweeper.reporting.html_report.page import render, write

__all__ = ["render", "write"]

"""A program that cannot reach its trial: in a network namespace of its own, say."""

import os

os.environ["SWEEPER_CHANNEL"] = "sweeper-not-there"

import report  # noqa: F401

import sweeper

if __name__ == "__main__":
    sweeper.report(1, {"score": 1.0})

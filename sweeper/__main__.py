"""`python -m sweeper`, and the command `sweeper`."""

from sweeper import leaving
from sweeper.cli import main


def run() -> None:
    """Run the command line and leave: Ray's modules need not be taken apart."""
    leaving.leave(main())


if __name__ == "__main__":
    run()

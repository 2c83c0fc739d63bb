"""`python -m sweeper`, and the command `sweeper`."""

from sweeper.cli import main
from sweeper.host import leaving


def run() -> None:
    """Run the command line and leave: Ray's modules need not be taken apart."""
    leaving.leave(main())


if __name__ == "__main__":
    run()

"""`python -m sweeper`, and the command `sweeper`."""

import gc

from sweeper.cli import main
from sweeper.system import process

ALLOCATIONS = 100_000  # between two looks for garbage: imports make objects that stay


def run() -> None:
    """Run the command line and leave: Ray's modules need not be taken apart."""
    gc.set_threshold(ALLOCATIONS)
    process.leave(main())


if __name__ == "__main__":
    run()

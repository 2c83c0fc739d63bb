"""Starts the program with no descriptor but the standard ones."""

import subprocess
import sys

if __name__ == "__main__":
    sys.exit(subprocess.call([sys.executable, "report.py"], close_fds=True))

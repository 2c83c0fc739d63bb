"""Which version of a project's code runs: its git commit and what differs from it."""

import hashlib
import subprocess
from pathlib import Path

DIGITS = 10


def version(project: Path) -> str:
    """The commit, with a digest of all that is not committed; "" without git.

    >>> version(Path("/"))
    ''
    """
    commit = _git(project, "rev-parse", "HEAD").decode().strip()[:DIGITS]
    if not commit:
        return ""
    # Files that git does not know count by name and content; ignored ones do not.
    changed = _git(project, "diff", "HEAD", "--", ".")
    names = _git(project, "ls-files", "--others", "--exclude-standard", "-z")
    for name in filter(None, names.split(b"\0")):
        if name.endswith((b".py", b".yaml")):
            changed += name + b"\0" + _content(project / name.decode())
    if not changed:
        return commit
    return f"{commit}+{hashlib.sha256(changed).hexdigest()[:DIGITS]}"


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _git(project: Path, *arguments: str) -> bytes:
    """Output of a git command in `project`, empty where it is not a repository."""
    command = ["git", "-C", str(project), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        return b""
    return done.stdout if done.returncode == 0 else b""

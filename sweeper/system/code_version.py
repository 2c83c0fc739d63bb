"""The version of a project's code: git commit and digest of uncommitted changes."""

import hashlib
import os
import subprocess
from pathlib import Path

DIGITS = 10


def version(project: Path) -> str:
    """Return the commit, with a digest of uncommitted changes; "" without git.

    >>> version(Path("/"))
    ''
    """
    commit = git(project, "rev-parse", "HEAD").strip()[:DIGITS]
    if not commit:
        return ""
    # Untracked .py and .yaml files count by name and content; ignored files do not.
    changed = os.fsencode(git(project, "diff", "HEAD", "--", "."))
    names = git(project, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    for name in names:
        path = project / name
        if path.suffix in (".py", ".yaml") and path.is_file():
            changed += os.fsencode(name) + b"\0" + path.read_bytes()
    if not changed:
        return commit
    return f"{commit}+{hashlib.sha256(changed).hexdigest()[:DIGITS]}"


def git(project: Path, *arguments: str) -> str:
    """Return the output of a git command in `project`, "" if it fails.

    File names that are not valid UTF-8 are decoded as `os.fsdecode` does.
    """
    command = ["git", "-C", str(project), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        return ""
    return os.fsdecode(done.stdout) if done.returncode == 0 else ""

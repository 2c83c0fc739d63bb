"""`python -m tests.kinds.probed SECONDS PROJECT...`: what imports of `train:main` do.

Each project is met in a process of its own, as in a template that has just its order.
"""

import importlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from sweeper.system.targets import put_on_path
from sweeper.trial import forked, importing, probe


def take(project: Path, seconds: float) -> None:
    """Do what a template does with its order; write the result beside the project."""
    forked.adopt_orphans()
    os.chdir(project)
    put_on_path(project)
    importing.forget_shadowed(project)
    result = probe.probe("train:main", project, limit_seconds=seconds)
    importing.import_shared(result.shared, result.private)
    data = {**asdict(result), "loaded": list(sys.modules)}
    project.with_suffix(".json").write_text(json.dumps(data))


def main() -> None:
    """Take each project in turn."""
    seconds, *projects = sys.argv[1:]
    importlib.import_module("lightning.pytorch")
    for project in projects:
        pid = os.fork()
        if pid == 0:
            take(Path(project), float(seconds))
            os._exit(0)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()

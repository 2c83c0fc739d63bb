"""`python -m tests.kinds.probed PROJECT TARGET SECONDS`: the import of a target."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from sweeper.definition.sources import put_on_path
from sweeper.processes import fork_server, probe
from sweeper.project import importing


def main() -> None:
    """Do what the template does with an order; print the result and what it loaded."""
    project, target, seconds = sys.argv[1:]
    fork_server.adopt_orphans()
    os.chdir(project)
    put_on_path(Path(project))
    importing.forget_shadowed(Path(project))
    result = probe.probe(target, Path(project), limit_seconds=float(seconds))
    importing.import_shared(result.shared, result.private)
    print(json.dumps({**asdict(result), "loaded": list(sys.modules)}))


if __name__ == "__main__":
    main()

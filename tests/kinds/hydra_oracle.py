"""What Hydra itself composes: `python train.py OVERRIDES --cfg job`, many in one go.

`python hydra_oracle.py [MORE ...]` runs `train.py` of the working directory for each
list of overrides in standard input (JSON), and writes for each one the config that
Hydra prints, or null where it refuses the overrides.
"""

import contextlib
import io
import json
import runpy
import sys

from hydra.core.global_hydra import GlobalHydra


def composed(words: list[str]) -> str | None:
    """Run the script as the command line would, up to its composed config."""
    GlobalHydra.instance().clear()
    sys.argv = ["train.py", *words, "--cfg", "job"]
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            runpy.run_path("train.py", run_name="__main__")
    except SystemExit:
        return None
    return output.getvalue()


if __name__ == "__main__":
    more = sys.argv[1:]
    results = [composed([*more, *words]) for words in json.load(sys.stdin)]
    print(json.dumps(results))

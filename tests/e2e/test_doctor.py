"""`sweeper doctor --determinism`: three short runs, one of them killed."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1] / "strangers" / "twins"
EQUAL = "two clean runs are bit-equal"
EXPERIMENT = """
project: {project}
target: train:main
config: conf/config.yaml
overrides: [{overrides}]
search_space: {{+rate: [1, 2]}}
objective: {{metric: loss, mode: min}}
"""


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.long
def test_the_doctor_tells_what_differs_between_runs(tmp_path: Path) -> None:
    cases = {
        "": (0, [EQUAL, "resumed is bit-equal to them"]),
        "is_seeded=false": (2, ["two clean runs differ in loss, epoch 1;"]),
        "is_forgetful=true": (2, [EQUAL, "killed and resumed run differs in loss"]),
    }
    started = {}
    for overrides in cases:
        file = tmp_path / f"{overrides.replace('=', '_') or 'plain'}.yaml"
        file.write_text(EXPERIMENT.format(project=PROJECT, overrides=overrides))
        started[overrides] = subprocess.Popen(
            [sys.executable, "-m", "sweeper", "doctor", "--determinism", str(file)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    for overrides, (code, words) in cases.items():
        out, err = started[overrides].communicate(timeout=300)
        assert started[overrides].returncode == code, err
        assert "Traceback" not in err
        for word in words:
            assert word in out

"""The modules of a trial that need nothing but the standard library at import."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PLAIN = [
    "sweeper.trial.active_trial",
    "sweeper.trial.compat.lightning",
    "sweeper.trial.compat.torch",
    "sweeper.trial.exact_resume",
    "sweeper.trial.one_batch",
    "sweeper.trial.progress",
    "sweeper.trial.trainer_setup",
]
# These import torch, torchmetrics or numpy, and the standard library otherwise.
WITH_TORCH = [
    "sweeper.trial.correctness",
    "sweeper.trial.reporter",
    "sweeper.trial.exact_resume.callback",
]
LIBRARIES = {"pydantic", "optuna", "ray", "rich", "hydra", "omegaconf", "yaml"}


def _run(code: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-I", *options, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", PLAIN)
def test_a_module_is_imported_without_any_library(module: str) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {module}"
    _run(code, "-S")  # without site-packages


@pytest.mark.slow
def test_the_modules_of_a_lightning_fit_import_no_library_of_the_driver() -> None:
    code = "import sys, torch, torchmetrics; before = set(sys.modules); import "
    code += ", ".join(WITH_TORCH) + "; print(*sorted(set(sys.modules) - before))"
    added = {name.partition(".")[0] for name in _run(code).split()}
    assert "sweeper" in added
    assert not added & LIBRARIES

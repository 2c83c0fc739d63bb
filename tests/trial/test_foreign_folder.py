"""The trial half is imported in an interpreter that has nothing but Python."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sweeper

PACKAGE = Path(sweeper.__file__).parent
IMPORTS_ALL = """
import importlib, pkgutil, sys
sys.path.insert(0, {folder!r})
import sweeper
names = [m.name for m in pkgutil.walk_packages(sweeper.__path__, "sweeper.")]
for name in names:
    importlib.import_module(name)
print(len(names))
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
OUTSIDE = """
import sys
sys.path.insert(0, {folder!r})
import sweeper
print(sweeper.report(1, {{"accuracy": 0.5}}))
try:
    sweeper.trial_dir()
except Exception as error:
    print(f"{{type(error).__name__}}: {{error}}")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that enters a foreign interpreter."""
    inside = tmp_path / "sweeper"
    inside.mkdir()
    for name in ("__init__.py", "protocol.py"):
        shutil.copy(PACKAGE / name, inside / name)
    for name in ("system", "trial"):
        shutil.copytree(PACKAGE / name, inside / name)
    return tmp_path


def _run(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_module_of_the_trial_half_needs_the_standard_library_only(
    folder: Path,
) -> None:
    number, loaded = _run(IMPORTS_ALL.format(folder=str(folder)))
    assert int(number) > 30
    roots = {name for name in loaded.split() if not name.startswith("_sysconfigdata")}
    assert roots <= {*sys.stdlib_module_names, "sweeper", "__main__"}


def test_outside_of_a_trial_a_report_continues_and_a_folder_is_refused(
    folder: Path,
) -> None:
    decision, error = _run(OUTSIDE.format(folder=str(folder)))
    assert decision == "continue"
    assert error.startswith("TargetError")
    assert "no trial runs in this process" in error

"""The documentation: it builds, its notebook runs, what it says of others holds."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from sweeper.journal import store
from tests.helpers import journaled, make_experiment

ROOT = Path(__file__).parent.parent
SECONDS = 300


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    words = ["-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS * 2,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    menu = (tmp_path / "site" / "index.html").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix("")
        assert name.name == "index" or f'href="{name}/"' in menu
    reference = (tmp_path / "site" / "reference" / "index.html").read_text()
    assert "sweeper.driver.notebook.load_sweep" in reference
    fetched = re.findall(
        r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?))', reference
    )
    assert fetched == []


@pytest.mark.slow
@pytest.mark.e2e
def test_the_notebook_runs(tmp_path: Path) -> None:
    for name in ("conf", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "pyproject.toml").touch()
    notebook = nbformat.read(ROOT / "docs/how-to/sweeps.ipynb", as_version=4)
    NotebookClient(
        notebook,
        timeout=SECONDS * 2,
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", ())]
    pages = [o["data"].get("text/html", "") for o in outputs if "data" in o]
    assert any("model.learning_rate" in page for page in pages)
    assert (tmp_path / "sweeps" / "notebook" / "report.html").exists()


@pytest.mark.slow
def test_optuna_dashboard_opens_the_journal(tmp_path: Path) -> None:
    journaled(tmp_path)
    journal = store.SweepPaths(tmp_path / "sweeps" / "toy").journal
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("optuna-dashboard")
    server = subprocess.Popen(
        [program, str(journal), "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}/api/studies"
        (summary,) = _read(address, server)["study_summaries"]
        study = _read(f"{address}/{summary['study_id']}", server)
    finally:
        server.terminate()
        server.wait(timeout=SECONDS)
    assert summary["study_name"] == make_experiment(tmp_path).name
    values = [trial["values"][0] for trial in study["trials"]]
    assert [float(value) for value in values] == [0.25, 0.75, 0.5]


def _read(address: str, server: "subprocess.Popen[bytes]") -> dict[str, list]:  # type: ignore[type-arg]  # JSON
    """What a server answers, once it does."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            # a server of this test
            with urllib.request.urlopen(address, timeout=SECONDS) as answer:  # noqa: S310
                return dict(json.loads(answer.read()))
        except urllib.error.URLError:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)

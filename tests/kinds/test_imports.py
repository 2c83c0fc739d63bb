"""What the import of a project does is met once, and each trial has its own state."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.cases.harness import run_case

ROOT = Path(__file__).parents[2]
MAIN = "def main(cfg):\n    pass\n"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))


def probed(
    folder: Path, target: str = "train:main", *, seconds: float = 120.0
) -> dict[str, Any]:
    """The result of one probe, with the modules that the template has afterwards."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kinds.probed", folder, target, str(seconds)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    data: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return data


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "messages"),
    [
        ("import sys; sys.exit(0)", ["sys.exit(0) at train.py:1"]),
        ("raise SystemExit('no data')", ["sys.exit('no data')"]),
        (
            "import argparse; p = argparse.ArgumentParser()\n"
            "p.add_argument('--data', required=True); p.parse_args()",
            ["sys.exit(2) at train.py:2", "required: --data"],
        ),
        ("{}['key']", ["raised KeyError at train.py:1: 'key'"]),
        ("import no_such_module", ["cannot import 'no_such_module'"]),
        ("import os; os._exit(4)", ["ends the process, exit status 4"]),
        ("import os; os.abort()", ["ends the process, killed by SIGABRT"]),
        (
            "import ctypes; ctypes.string_at(0)",
            ["ends the process, killed by SIGSEGV"],
        ),
        ("raise KeyboardInterrupt", ["raised KeyboardInterrupt at train.py:1"]),
        (
            "import sweeper\nsweeper.report(1, {'score': 1.0})",
            ["importing it starts a training"],
        ),
        (
            "import lightning as L\ntry:\n"
            "    L.Trainer(logger=False).fit(L.LightningModule())\n"
            "except Exception:\n    raise SystemExit(1)",
            ["importing it starts a training"],
        ),
        ("del main", ["train has no function 'main'"]),
    ],
)
def test_an_import_that_cannot_work_is_one_message(
    tmp_path: Path, body: str, messages: list[str]
) -> None:
    first = MAIN + body if "del main" in body else body + "\n" + MAIN
    write(tmp_path, {"train.py": first})
    error = probed(tmp_path)["error"]
    assert error.startswith("target: 'train:main': ")
    assert "\n" not in error
    for message in messages:
        assert message in error


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        "while True:\n    pass",
        "import threading; threading.Event().wait()",
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.fork(); time.sleep(600)",
    ],
)
def test_an_import_without_end_is_ended_and_says_where_it_was(
    tmp_path: Path, body: str
) -> None:
    write(tmp_path, {"train.py": body + "\n" + MAIN})
    result = probed(tmp_path, seconds=3.0)
    assert "did not end within 3 s (it was at train.py:" in result["error"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        "import argparse\nARGS = argparse.ArgumentParser().parse_args()",
        "import sys\nassert len(sys.argv) == 1 and sys.argv[0].endswith('train.py')",
        "import threading as t, time\nt.Thread(target=time.sleep, args=[9]).start()",
        "import multiprocessing\nSHARED = multiprocessing.Manager().dict()",
        "import subprocess as s\nH = s.Popen(['sleep', '99'], start_new_session=True)",
        "import lightning as L\nTRAINER = L.Trainer(logger=False)",
        "FILE = open(__file__)",
        "import warnings; warnings.warn('x' * 100_000)\nprint('y' * 100_000)",
    ],
)
def test_an_import_that_works_as_a_script_works(tmp_path: Path, body: str) -> None:
    write(tmp_path, {"train.py": body + "\n" + MAIN})
    result = probed(tmp_path)
    assert result["error"] == ""
    assert "train" in result["private"]
    assert "train" not in result["loaded"]


@pytest.mark.slow
def test_only_third_party_modules_are_shared(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "train.py": "from mypackage.sub import core\nimport statistics_of, wave\n"
            "import space.inner, xml.dom\n" + MAIN,
            "mypackage/__init__.py": "",
            "mypackage/sub/__init__.py": "",
            "mypackage/sub/core.py": "from . import other\nfrom .. import top\n",
            "mypackage/sub/other.py": "",
            "mypackage/top.py": "",
            "statistics_of.py": "import sklearn.metrics\n",
            "space/inner.py": "",  # a namespace package
            # The name of a module of the standard library, and of one of sweeper's.
            "wave.py": "MINE = True\n",
        },
    )
    result = probed(tmp_path)
    assert result["error"] == ""
    assert {
        *("train", "mypackage", "mypackage.sub", "mypackage.sub.core"),
        *("mypackage.sub.other", "mypackage.top", "statistics_of", "space.inner"),
        "wave",
    } == set(result["private"])
    assert not set(result["private"]) & set(result["loaded"])
    assert {"sklearn.metrics", "xml.dom"} <= set(result["loaded"])


@pytest.mark.slow
def test_a_module_with_the_name_of_an_imported_one_is_the_projects(
    tmp_path: Path,
) -> None:
    write(
        tmp_path,
        {
            "train.py": "from statistics import MINE\nimport rich\nrich.MINE\n" + MAIN,
            "statistics.py": "MINE = 1\n",
            "rich/__init__.py": "from . import part\nMINE = 2\n",
            "rich/part.py": "",
        },
    )
    result = probed(tmp_path)
    assert result["error"] == ""
    assert {"statistics", "rich", "rich.part"} <= set(result["private"])


@pytest.mark.slow
def test_a_third_party_module_does_not_bring_one_of_the_project(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "train.py": "import sys\nsys.path.append('lib')\nimport plugin\n" + MAIN,
            "plugin.py": "import settings\n",
            "settings.py": "",
        },
    )
    result = probed(tmp_path)
    assert {"plugin", "settings"} <= set(result["private"])
    assert not {"plugin", "settings"} & set(result["loaded"])


@pytest.mark.slow
@pytest.mark.e2e
def test_each_trial_has_the_state_that_its_import_makes(tmp_path: Path) -> None:
    sweep = run_case("C15", tmp_path)
    assert sweep.code == 0, sweep.output
    notes = [sweep.final(number) for number in range(3)]
    for name in ("run", "pid", "scratch", "values"):
        assert len({str(note[name]) for note in notes}) == 3, name
    scores = [tuple(trial["epochs"].values()) for trial in sweep.trials()]
    assert len(set(scores)) == 3
    assert [note["trial"] for note in notes] == [t["id"] for t in sweep.trials()]


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.parametrize("target", ["state:main", "state_main:main"])
def test_a_thread_that_the_import_starts_serves_its_trial(
    tmp_path: Path, target: str
) -> None:
    sweep = run_case("C15", tmp_path, f"target={target}", "queue=true")
    assert sweep.code == 0, sweep.output
    assert {trial["state"] for trial in sweep.trials()} == {"complete"}


@pytest.mark.slow
@pytest.mark.e2e
def test_an_import_that_cannot_work_ends_the_sweep_before_its_first_trial(
    tmp_path: Path,
) -> None:
    sweep = run_case("C14", tmp_path, "target=needs:main")
    assert sweep.code == 2
    assert "required: --data" in sweep.output
    assert "Traceback" not in sweep.output
    assert "running" not in sweep.output


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.parametrize(
    ("module", "code"),
    [("flags", 0), ("registers", 0), ("unguarded", 2)],
)
def test_a_module_that_reads_its_command_line_works_without_arguments(
    tmp_path: Path, module: str, code: int
) -> None:
    sweep = run_case("C14", tmp_path, f"target={module}:main")
    assert sweep.code == code, sweep.output
    assert ("starts a training" in sweep.output) == (code == 2)

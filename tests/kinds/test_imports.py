"""What the import of a project does is met once, and each trial has its own state."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Sequence
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
    folder: Path, projects: Sequence[dict[str, str]], *, seconds: float = 120.0
) -> list[dict[str, Any]]:
    """What the probe says of each project, with what the template imports then."""
    places = [folder / f"project_{number}" for number in range(len(projects))]
    for place, files in zip(places, projects, strict=True):
        write(place, files)
    subprocess.run(
        [sys.executable, "-m", "tests.kinds.probed", str(seconds), *places],
        cwd=ROOT,
        check=True,
        timeout=800,
    )
    return [json.loads(place.with_suffix(".json").read_text()) for place in places]


REFUSED = {
    "import sys; sys.exit(0)": ["sys.exit(0) at train.py:1"],
    "raise SystemExit('no data')": ["sys.exit('no data')"],
    "import argparse; p = argparse.ArgumentParser()\n"
    "p.add_argument('--data', required=True); p.parse_args()": [
        "sys.exit(2) at train.py:2",
        "required: --data",
    ],
    "{}['key']": ["raised KeyError at train.py:1: 'key'"],
    "import no_such_module": ["cannot import 'no_such_module'"],
    "import os; os._exit(4)": ["ends the process, exit status 4"],
    "import os; os.abort()": ["ends the process, killed by SIGABRT"],
    "import ctypes; ctypes.string_at(0)": ["ends the process, killed by SIGSEGV"],
    "import os; os.kill(os.getpid(), 9)": ["killed by SIGKILL 3 times"],
    "raise KeyboardInterrupt": ["raised KeyboardInterrupt at train.py:1"],
    "import sweeper\nsweeper.report(1, {'score': 1.0})": ["starts a training"],
    "import lightning as L\ntry:\n"
    "    L.Trainer(logger=False).fit(L.LightningModule())\n"
    "except Exception:\n    raise SystemExit(1)": ["starts a training"],
    "other = 1\ndel other\nmain = 3": ["train has no function 'main'"],
}
ENDLESS = (
    "while True:\n    pass",
    "import threading; threading.Event().wait()",
    "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "os.fork(); time.sleep(600)",
)
KILLED_ONCE = """\
import os
from pathlib import Path
mark = Path(__file__).with_name("mark")
if not mark.exists():
    mark.touch()
    os.kill(os.getpid(), {signal})"""
WORKING = (
    KILLED_ONCE.format(signal=9),
    KILLED_ONCE.format(signal=15),
    "import argparse\nARGS = argparse.ArgumentParser().parse_args()",
    "import sys\nassert len(sys.argv) == 1 and sys.argv[0].endswith('train.py')",
    "import threading as t, time\nt.Thread(target=time.sleep, args=[9]).start()",
    "import multiprocessing\nSHARED = multiprocessing.Manager().dict()",
    "import subprocess as s\nH = s.Popen(['sleep', '99'], start_new_session=True)",
    "import lightning as L\nTRAINER = L.Trainer(logger=False)",
    "FILE = open(__file__)",
    "import warnings; warnings.warn('x' * 100_000)\nprint('y' * 100_000)",
)
PACKAGES = {
    "train.py": "from mypackage.sub import core\nimport statistics_of, wave\n"
    "import space.inner, xml.dom\n" + MAIN,
    "mypackage/__init__.py": "",
    "mypackage/sub/__init__.py": "",
    "mypackage/sub/core.py": "from . import other\nfrom .. import top\n",
    "mypackage/sub/other.py": "",
    "mypackage/top.py": "",
    "statistics_of.py": "import sklearn.metrics\n",
    "space/inner.py": "",  # a namespace package
    "wave.py": "MINE = True\n",  # the standard library has one, too
}
SHADOWING = {
    "train.py": "from statistics import MINE\nimport rich\nrich.MINE\n" + MAIN,
    "statistics.py": "MINE = 1\n",
    "rich/__init__.py": "from . import part\nMINE = 2\n",
    "rich/part.py": "",
}
BESIDE = {  # a folder on the path that is neither the project's nor installed
    "train.py": "import sys\nsys.path.append('lib')\nimport plugin\n" + MAIN,
    "lib/plugin.py": "import settings\n",
    "settings.py": "",
}
SOURCE = {
    "src/train.py": "from mine import part\n" + MAIN,
    "src/mine/__init__.py": "",
    "src/mine/part.py": "import colorsys\n",
}


@pytest.mark.slow
def test_an_import_that_cannot_work_is_one_message(tmp_path: Path) -> None:
    projects = [{"train.py": f"{body}\n"} for body in REFUSED]
    results = probed(tmp_path, projects)
    for messages, result in zip(REFUSED.values(), results, strict=True):
        assert result["error"].startswith("target: 'train:main': ")
        assert "\n" not in result["error"]
        for message in messages:
            assert message in result["error"]


@pytest.mark.slow
@pytest.mark.long
def test_an_import_without_end_is_ended_and_says_where_it_was(tmp_path: Path) -> None:
    projects = [{"train.py": f"{body}\n{MAIN}"} for body in ENDLESS]
    for result in probed(tmp_path, projects, seconds=10.0):
        assert "did not end within 10 s (it was at train.py:" in result["error"]


@pytest.mark.slow
def test_an_import_that_works_as_a_script_works(tmp_path: Path) -> None:
    projects = [{"train.py": f"{body}\n{MAIN}"} for body in WORKING]
    for result in probed(tmp_path, projects):
        assert result["error"] == ""
        assert "train" in result["private"]
        assert "train" not in result["loaded"]


@pytest.mark.slow
def test_only_third_party_modules_are_shared(tmp_path: Path) -> None:
    projects = [PACKAGES, SHADOWING, BESIDE, SOURCE]
    results = probed(tmp_path, projects)
    for result in results:
        assert result["error"] == ""
        assert not set(result["private"]) & set(result["loaded"])
    packages, shadowing, beside, source = (set(r["private"]) for r in results)
    assert packages == {
        *("train", "mypackage", "mypackage.sub", "mypackage.sub.core"),
        *("mypackage.sub.other", "mypackage.top", "statistics_of", "space.inner"),
        "wave",
    }
    assert {"sklearn.metrics", "xml.dom"} <= set(results[0]["loaded"])
    assert {"train", "statistics", "rich", "rich.part"} <= shadowing
    assert beside == {"train", "plugin", "settings"}
    assert source == {"train", "mine", "mine.part"}


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


@pytest.mark.long
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

"""The commands of the README and of the tutorial, in order, in a fresh copy."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper import cli
from tests.e2e.harness import ROOT, sweeper

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

TIMEOUT_SECONDS = 850.0
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# `make demo` trains for three minutes; here two trials, on fewer crops, for one epoch.
QUICK = ("data.num_images=420", "trainer.max_epochs=1", "budget.trials=2")
# Of the README's own sweep two trials and a third one, not six and four.
README_CHANGES = {"trials: 6": "trials: 2", "budget.trials=10": "budget.trials=3"}
# Of the tutorial's points two; there its six take a minute, and as long with W&B.
TUTORIAL_CHANGES = {
    "1e-3, 3e-3, 1e-2": "1e-3",
    "max_epochs=3]": "max_epochs=1]\nwandb: none",
}


def _commands(page: str) -> list[list[str]]:
    """Every shell line of a page, comments off."""
    text = (ROOT / page).read_text()
    lines = [
        line
        for language, block in BLOCK.findall(text)
        if language == ""
        for line in block.splitlines()
    ]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def _copy(folder: Path) -> None:
    """The files of the project and nothing that was made since."""
    names = ("pyproject.toml", "constraints.txt", "Makefile", "conf", "experiments")
    for name in (*names, "sweeper"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)


@pytest.mark.timeout(3000)
def test_the_commands_of_the_readme_run_in_order(tmp_path: Path) -> None:
    _copy(tmp_path)
    own = [block for language, block in BLOCK.findall(README) if language]
    path = tmp_path / own[0].splitlines()[0].removeprefix("# ")
    assert all(more in README for more in README_CHANGES)
    path.write_text(own[0].replace("trials: 6", README_CHANGES["trials: 6"]))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    seen = []
    for words in _commands("README.md"):
        if words[0] in (".", "git") or words == ["make", "test"]:
            continue
        command = [
            sys.executable,
            "-m",
            *(README_CHANGES.get(word, word) for word in words),
        ]
        if words == ["make", "demo"]:
            command = _demo(tmp_path)
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        assert done.stdout.strip(), words
        seen.append(words[1])
    assert {"demo", "status", "best", "logs", "run", "train"} <= set(seen)


def _demo(folder: Path) -> list[str]:
    """What `make demo` would run, by make's own word."""
    said = subprocess.run(
        [shutil.which("make") or "make", "--no-print-directory", "-n", "demo"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    words = shlex.split(said.stdout.strip().splitlines()[-1])
    assert words[1:] == ["-m", "sweeper", "run", "experiments/lr_sweep.yaml"]
    return [sys.executable, *words[1:], *QUICK]


@pytest.mark.timeout(3000)
def test_the_commands_of_the_tutorial_run_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its two runs in processes of their own, what only reads in this one."""
    for name in ("conf", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    page = (ROOT / "docs/tutorial.md").read_text()
    (content,) = (text for language, text in BLOCK.findall(page) if language == "yaml")
    for long, short in TUTORIAL_CHANGES.items():
        assert long in content
        content = content.replace(long, short)
    path = tmp_path / content.splitlines()[0].removeprefix("# ")
    path.parent.mkdir()
    path.write_text(content)
    os.chdir(tmp_path)
    commands = [words for words in _commands("docs/tutorial.md") if "&&" not in words]
    for name, *rest in commands:
        assert name == "sweeper"
        words = [word for word in rest if word not in ("-f", ">>", "RESULTS.md")]
        if words[0] == "run":
            done = sweeper(*words, cwd=tmp_path)
            code, said = done.returncode, done.stdout + done.stderr
        else:
            code, said = cli.main(words), capsys.readouterr().out
        # The doctor has 2 where this machine has a flaw.
        assert code in ((0, 2) if words[0] == "doctor" else (0,)), (words, said)
        assert said.strip(), words
    assert len(commands) == 10
    assert list((tmp_path / "models" / "phase_1").glob("*.onnx"))

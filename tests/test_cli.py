"""The command line as a whole: every command has help, an example and a page."""

import argparse
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper import cli, exit_codes
from sweeper.journal import store
from sweeper.protocol import Report
from sweeper.system import errors
from sweeper.system.paths import SweepPaths
from tests.helpers import make_experiment, open_journal

ROOT = Path(__file__).parent.parent
COMMANDS = {
    name: importlib.import_module(f"sweeper.commands.{name}")
    for name in cli.command_names()
}


def _page() -> str:
    spec = importlib.util.spec_from_file_location("cli_page", ROOT / "docs/cli_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.page())


def test_the_page_of_the_command_line_is_that_of_the_commands() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert page == _page(), "run: python docs/cli_page.py"
    for name, command in COMMANDS.items():
        assert f"\n## {name}\n" in page
        assert command.EXAMPLE in page


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_and_an_example_that_parses(name: str) -> None:
    command = COMMANDS[name]
    summary = str(command.__doc__).splitlines()[0]
    assert summary.endswith(".")
    assert len(summary) < 80
    plain = re.sub(r"\$\(.*?\)", "inner", command.EXAMPLE)
    words = shlex.split(plain.partition(" > ")[0].partition(" | ")[0])
    assert words[:2] == ["sweeper", name]
    args = cli.parse(words[1:])
    assert args.function is command.run


@pytest.mark.parametrize(
    "words",
    [
        ["train", "a=1", "--wandb", "none", "b=2"],
        ["train", "--wandb", "none", "a=1", "b=2"],
        ["train", "a=1", "b=2", "--wandb", "none"],
    ],
)
def test_options_may_stand_between_overrides(words: list[str]) -> None:
    args = cli.parse(words)
    assert args.overrides == ["a=1", "b=2"]
    assert args.wandb == "none"
    assert args.function is COMMANDS["train"].run


def test_a_file_may_follow_an_option_and_its_overrides_another() -> None:
    args = cli.parse(["run", "-q", "e.yaml", "a=1", "--num-cpus", "2", "b=2"])
    assert (args.file, args.overrides) == (Path("e.yaml"), ["a=1", "b=2"])
    assert args.quiet
    assert args.num_cpus == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_says_what_it_means(name: str) -> None:
    parser = argparse.ArgumentParser()
    COMMANDS[name].arguments(parser)
    silent = [
        action.dest
        for action in parser._actions
        if not action.help and not action.choices
    ]
    assert silent == []


def test_exit_codes_stand_in_one_table() -> None:
    table = {int(c) for c in re.findall(r"^\| (\d+) \|", str(exit_codes.__doc__), re.M)}
    named = {
        v for k, v in vars(exit_codes).items() if k.isupper() and isinstance(v, int)
    }
    raised = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.SweeperError)
    }
    assert named | raised | {1} == table


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_every_command(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["completion", shell]) == exit_codes.FINISHED
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)


def test_doctor_names_versions_disk_and_wandb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(["doctor", "--sweeps", str(tmp_path / "none" / "yet")])
    text = capsys.readouterr().out
    assert code in (exit_codes.FINISHED, errors.SweeperError.exit_code)
    assert (code == exit_codes.FINISHED) == ("->" not in text)
    for topic in ("python:", "torch:", "ray:", "disk:", "wandb runs:", "gpu"):
        assert topic in text
    assert not (tmp_path / "none").exists()


def test_quick_commands_load_nothing_heavy(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, seeds=[1, 2])
    for value in (0.5, 0.6, 0.7):
        assert journal.claim("a") is not None
        journal.start("a")
        journal.report("a", Report(epoch=1, values=(value,)))
        journal.finish("a")
    sweeps = tmp_path / "sweeps"
    experiment = make_experiment(tmp_path, seeds=[1, 2])
    store.save_experiment(experiment, SweepPaths(sweeps / "toy"))
    code = (
        "import sys, json\nfrom sweeper import cli\n"
        f"where = ['toy', '--sweeps', {str(sweeps)!r}]\n"
        "for command in ('status', 'best'):\n"
        "    assert cli.main([command, *where]) == 0\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        timeout=600,
    )
    heavy = {"torch", "lightning", "plotly", "ray", "pandas", "matplotlib", "wandb"}
    heavy |= {"sqlalchemy", "hydra", "omegaconf", "scipy.stats"}
    assert not heavy & set(json.loads(done.stdout.splitlines()[-1]))


def test_a_place_that_cannot_be_written_to_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    sweeps = tmp_path / "file" / "sweeps"
    digits = Path(__file__).parents[1] / "experiments" / "digits.yaml"
    assert cli.main(["run", str(digits), "--sweeps", str(sweeps)]) == 2
    told = capsys.readouterr().err
    assert f"error: {sweeps}/digits: Not a directory;" in told
    assert "--sweeps DIR" in told

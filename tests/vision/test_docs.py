"""docs/training.md names what is there, and its commands are commands."""

import re
import shlex

import pytest
import yaml

from sweeper.cli import build_parser
from tests.vision.composing import CONF, composed

TEXT = (CONF.parent / "docs" / "training.md").read_text()
COMMANDS = sorted(
    {
        found.split(" #")[0].strip()
        for found in re.findall(r"^sweeper .*|(?<=`)sweeper [^`]*", TEXT, re.MULTILINE)
        if len(found.split()) > 2
    }
)


@pytest.mark.parametrize("group", ["data", "model", "transforms", "trainer"])
def test_every_choice_of_a_group_stands_in_the_docs(group):
    for file in (CONF / group).glob("*.yaml"):
        assert re.search(rf"`({group}=)?{file.stem}`", TEXT), file.name


def test_every_callback_stands_in_the_docs():
    text = (CONF / "callbacks" / "default.yaml").read_text()
    for key in yaml.safe_load(text):
        assert f"| `{key}` |" in TEXT, key


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_docs_parses(tmp_path, command):
    words = shlex.split(command.replace("$(sweeper best lr_sweep --ckpt)", "a.ckpt"))
    words = [word.replace("CHECKPOINT", "a").replace("IMAGE...", "b") for word in words]
    arguments = build_parser().parse_args(words[1:])
    assert arguments.function
    if words[1] == "train":
        composed(tmp_path, *arguments.overrides)


def test_the_experiments_of_the_docs_are_there():
    for name in re.findall(r"experiments/\w+\.yaml", TEXT):
        assert (CONF.parent / name).exists(), name

"""The README's code blocks run, its commands exist, and it stays short."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
EXAMPLES = [code for code in PYTHON if code.startswith("# ")]
SAVING = 'model.save_pretrained("my-model")'  # said in a sentence
COMMANDS = [line for language, code in BLOCKS if not language for line in code.splitlines() if "albert " in line]


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, list[str]]]:
    """What each example prints, and the files it saves; each runs once."""
    found = []
    for example in EXAMPLES:
        folder = tmp_path_factory.mktemp("example")
        env = {**os.environ, "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-W", "ignore", "-c", example + SAVING]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, timeout=300)
        assert done.returncode == 0, f"{example}\n{done.stderr}"
        found.append((done.stdout.strip(), sorted(p.name for p in (folder / "my-model").iterdir())))
    return found


def test_there_is_an_example_of_each_backend() -> None:
    assert f"`{SAVING}`" in README
    assert EXAMPLES == PYTHON
    assert len(EXAMPLES) == 3


@pytest.mark.xdist_group("README.md")  # runs once
def test_the_examples_print_one_word(ran: list[tuple[str, list[str]]]) -> None:
    (word,) = {word for word, _ in ran}
    assert word
    assert word.isprintable()


@pytest.mark.xdist_group("README.md")
def test_the_examples_save_the_model(ran: list[tuple[str, list[str]]]) -> None:
    assert [files for _, files in ran] == [["config.json", "model.safetensors"]] * 3


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_line_parses(line: str) -> None:
    """Every option that the README shows exists; running them is the business of test_cli."""
    from albert_core.cli import group

    words = shlex.split(line.split("|")[-1])
    name, args = words[1], words[2:]
    command = group.get_command(None, name)
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in args if word.startswith("--")} <= known


def test_no_placeholder_is_left() -> None:
    assert not re.findall(r"@[A-Z]+@", README)

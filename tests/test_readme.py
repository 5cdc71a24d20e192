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


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda code: code.splitlines()[0])
def test_an_example_runs_and_prints_a_word(example: str, tmp_path: Path) -> None:
    assert f"`{SAVING}`" in README
    assert EXAMPLES == PYTHON
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "ignore", "-c", example + SAVING]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().isprintable()
    assert done.stdout.strip()
    assert sorted(p.name for p in (tmp_path / "my-model").iterdir()) == ["config.json", "model.safetensors"]


def test_the_three_examples_print_the_same_word(tmp_path: Path) -> None:
    assert len(EXAMPLES) == 3
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    words = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", e], capture_output=True, text=True, env=env, timeout=300
        ).stdout
        for e in EXAMPLES
    }
    assert len(words) == 1


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

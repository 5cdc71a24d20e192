"""The code blocks of docs/jax.md run one after the other, and examples/tpu_check.py runs on a CPU."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from albert_core.cli import group

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/jax.md").read_text()


def run(*command: object, cwd: Path) -> str:
    path = os.pathsep.join(path for path in sys.path if path)
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    words = [sys.executable, "-W", "error", *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=900, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_code_of_the_page_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 6
    run("-c", "\n".join(blocks), cwd=tmp_path)


def test_the_command_of_the_page_parses() -> None:
    (line,) = (line for line in PAGE.splitlines() if line.startswith("albert "))
    _, name, *words = shlex.split(line)
    command = group.get_command(None, name)
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.long
def test_the_check_of_a_chip(tmp_path: Path) -> None:
    run(ROOT / "examples/tpu_check.py", "--output", "found", "--steps", 20, "--lanes", "float32", cwd=tmp_path)
    report = json.loads((tmp_path / "found/report.json").read_text())
    assert report["ok"]
    assert report["platform"] == jax.devices()[0].platform
    assert {row["output"] for row in report["parity"]["rows"]} >= {"loss", "prediction_logits", "gradients"}
    assert report["training"]["resumed_with_the_same_bits"]
    assert report["training"]["stopped"]["step"] < report["training"]["resumed"]["step"] == 20


@pytest.mark.long
def test_the_check_of_a_chip_in_full(tmp_path: Path) -> None:
    run(ROOT / "examples/tpu_check.py", "--output", "found", cwd=tmp_path)
    report = json.loads((tmp_path / "found/report.json").read_text())
    assert report["ok"]
    losses = list(report["training"]["whole"]["losses"].values())
    assert losses[-1] < losses[0] - 0.5

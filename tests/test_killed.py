"""kill -9 at thirty random moments, then the weights of an uninterrupted run, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
KILLS = 30
LAST = "checkpoint-60"


@pytest.mark.parametrize(
    "name",
    ["torch", pytest.param("tf", marks=pytest.mark.long), pytest.param("flax", marks=pytest.mark.long)],
)
def test_thirty_kills_change_no_bit(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}
    command = [sys.executable, str(TESTS / "kill_driver.py"), name, str(KILLS), str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TESTS, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["kills"] == KILLS
    assert told["inside"] > 0  # some came while a checkpoint was being written
    whole, *killed = sorted((tmp_path / "runs").iterdir(), key=lambda path: path.name != "whole")
    assert killed
    for run in killed:
        assert [path.name for path in run.iterdir()] == [LAST]  # no temporary file stays
        for file in ("model.safetensors", "moments.safetensors"):
            assert (run / LAST / file).read_bytes() == (whole / LAST / file).read_bytes()

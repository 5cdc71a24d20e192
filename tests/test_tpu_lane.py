"""The other two backends on a TPU: their encoder compiles for a v5e:2x2, Keras on JAX and torch through torchax."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

NEEDED = {"keras": ["libtpu"], "torchax": ["libtpu", "torchax"]}
pytestmark = pytest.mark.long


@pytest.mark.parametrize("lane", NEEDED)
def test_the_encoder_compiles_for_a_tpu(lane: str) -> None:
    missing = [name for name in NEEDED[lane] if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(Path(__file__).with_name("tpu_lane.py")), lane]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=env)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 100

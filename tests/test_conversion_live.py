"""Live against transformers 4.57.6 in the environment that `make peers` makes: theirs made anew, ours loaded there.

Long, and skipped where there is no such environment. `ALBERT_PEERS` names its Python, if it is not .venv-peers.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from albert_conversion.convert import convert, plan_of
from albert_conversion.opened import open_checkpoint
from conversion_cases import tensors_of
from test_conversion_foreign import INPUTS

from albert_core import reference

FOREIGN = Path(__file__).parent / "foreign"
PYTHON = Path(os.environ.get("ALBERT_PEERS", Path(__file__).parents[1] / ".venv-peers/bin/python"))
CLOSE = 1e-5  # both compute in float32

pytestmark = [pytest.mark.long, pytest.mark.skipif(not PYTHON.exists(), reason="needs the environment of `make peers`")]


def run_there(script: str, *args: object) -> None:
    command = [str(PYTHON), "-W", "ignore", str(FOREIGN / script), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    for kind in ("bin", "h5", "msgpack", "tf1"):
        run_there("make_foreign.py", kind, root)
    return root


@pytest.mark.parametrize("kind", ["bin", "h5", "msgpack", "tf1"])
def test_theirs_is_read(kind: str, made: Path) -> None:
    with open_checkpoint(made / kind) as opened:
        plan = plan_of(opened)
        state = {name: plan.state[name].astype(np.float64) for name in plan.state}
    got = reference.forward(plan.config, state, INPUTS, plan.head)
    with np.load(made / kind / "outputs.npz") as expected:
        assert all(np.abs(got[name] - expected[name]).max() < CLOSE for name in expected.files)


@pytest.mark.parametrize("source", ["bin", "h5", "msgpack", "tf1"])
@pytest.mark.parametrize("target", ["bin", "h5", "msgpack"])
def test_ours_is_read_there(source: str, target: str, made: Path, tmp_path: Path) -> None:
    convert(made / source, tmp_path / "out", target)
    run_there("run_theirs.py", target, tmp_path / "out", tmp_path / "outputs.npz")
    with np.load(made / source / "outputs.npz") as expected, np.load(tmp_path / "outputs.npz") as got:
        assert all(np.abs(got[name] - expected[name]).max() < CLOSE for name in expected.files)
    assert tensors_of(tmp_path / "out").keys() == tensors_of(made / source).keys()

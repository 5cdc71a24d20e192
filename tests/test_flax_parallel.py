"""Several devices and several processes train as one does; the gradients are summed once, outside the loops."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest
from test_training import HEAD, RECIPE, STILL, TRAJECTORY, data_of, moved, trainer

from albert_core.heads import HEADS
from albert_core.parameters import initial_state
from albert_core.training import pretrain
from albert_flax.parallel import ParallelTrainer, mesh_of

pytestmark = pytest.mark.xdist_group("eight devices")  # which are started once
HERE = Path(__file__).parent
SAME = 1e-12


def spawn(script: str, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", str(HERE / script), *map(str, args)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What flax_devices.py measured on eight virtual devices."""
    process = spawn("flax_devices.py", tmp_path_factory.mktemp("eight") / "model")
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return json.loads(out)


def test_eight_devices_equal_one(eight: dict[str, Any]) -> None:
    assert max(eight["metrics"], eight["weights"], eight["moments"], eight["evaluated"]) <= SAME
    assert eight["weights"] > 0, "these are two computations"


def test_the_optimizer_keeps_an_eighth_of_its_state(eight: dict[str, Any]) -> None:
    """All but what no axis can be cut in eight of."""
    assert 1 / 8 <= eight["state_share"] < 1 / 7
    assert eight["replicated"]
    assert eight["moments_kept"]


def test_each_device_drops_its_own(eight: dict[str, Any]) -> None:
    assert eight["keys"] == 8


def test_gradients_are_summed_once_whatever_the_depth(eight: dict[str, Any]) -> None:
    twelve, deep = eight["layers"]["12"], eight["layers"]["48"]
    for layers, found in ((12, twelve), (48, deep)):
        assert layers - 1 in found["loops"]  # the last layer has queries of its own
        assert found["in_loops"] == 0
    assert twelve["reduced"] == deep["reduced"]
    assert twelve["parameters"] <= twelve["reduced"] < 1.01 * twelve["parameters"]  # and the norms


def test_a_sum_in_a_loop_would_be_seen(eight: dict[str, Any]) -> None:
    assert eight["control"] == {"times": [12], "in_loop": [True], "bytes": [16]}


def test_weights_land_on_the_sharding_asked_for(eight: dict[str, Any]) -> None:
    assert eight["loaded"] == {"everywhere": True, "cut": True}


FIRST = jax.devices("cpu")[0]


@pytest.mark.parametrize("device", [FIRST, [FIRST], "cpu", jax.sharding.Mesh([FIRST], ("batch",))], ids=repr)
def test_every_way_to_name_the_devices(device: Any) -> None:
    mesh = mesh_of(device)
    assert (mesh.axis_names, mesh.axis_types) == (("data",), (jax.sharding.AxisType.Auto,))
    assert FIRST in mesh.devices


@pytest.mark.parametrize(
    ("device", "came"),
    [(jax.sharding.Mesh([[FIRST]], ("data", "model")), "axes {'data': 1, 'model': 1}"), (0, "0"), ([], r"\[\]")],
    ids=["two axes", "a number", "none"],
)
def test_other_devices_are_refused(device: Any, came: str) -> None:
    with pytest.raises(ValueError, match=f"device: expected a mesh of one axis, .* got .*{came}"):
        ParallelTrainer(STILL, RECIPE, device=device)


def test_two_processes_train_and_one_goes_on(tmp_path: Path) -> None:
    """Four steps on two hosts of two devices and two steps on one device end where six on one device do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hosts = [spawn("flax_host.py", rank, 2, port, tmp_path / "run", 4) for rank in range(2)]
    said = [host.communicate(timeout=300) for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], said
    assert sum("held out" in errors for _, errors in said) == 1, "one of them speaks"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["best", "checkpoint-4"]
    ends = []
    with jax.enable_x64(True):
        for folder in ("run", "whole"):
            run = trainer("flax", STILL, RECIPE.replace(total_steps=6), dtype="float64")
            state = pretrain(run, data_of(RECIPE), tmp_path / folder, progress=lambda line: None)
            assert (state.stopped, state.step) == ("finished", 6)
            ends.append(run.model.numpy_state())
    start = initial_state(STILL, HEADS[HEAD].all_parts(), RECIPE.seed)
    assert 0 < moved(ends[0], start, ends[1]) <= TRAJECTORY

"""Two processes equal one: the trainer with its sharded optimizer, and a user's loop with DistributedDataParallel."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training import STILL, data_of
from torch_processes import ACCUMULATION, RELATIVE, RUNS, TASKS, task, trained
from torchrun import torchrun

from albert_core.safetensors_file import open_safetensors
from albert_core.training import pretrain
from albert_torch.parallel import shared_out
from albert_torch.training import Trainer

BOUND = 1e-12
pytestmark = pytest.mark.xdist_group("torch in two processes")  # which are started once


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder that two processes wrote into, and what each says of itself."""
    folder = tmp_path_factory.mktemp("two")
    torchrun(Path(__file__).with_name("torch_processes.py"), folder)
    return folder, [json.loads((folder / f"found-{rank}.json").read_text()) for rank in range(2)]


def arrays(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for name in ("model", "moments"):
        with open_safetensors(folder / f"{name}.safetensors") as file:
            found |= {key: file.read(key) for key in file}
    return found


def by_one(name: str, folder: Path, steps: int) -> dict[str, np.ndarray]:
    recipe = RUNS[name].replace(total_steps=steps)
    one = Trainer(STILL, recipe, device="cpu", dtype="float64")
    pretrain(one, data_of(recipe), folder, accumulation=ACCUMULATION[name], progress=lambda line: None)
    return arrays(folder / f"checkpoint-{steps}")


def assert_same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        scale = 1.0 if "key.bias" in name else np.abs(value).max()  # its gradient is zero in theory, noise in fact
        assert np.abs(got[name] - value).max() <= BOUND * scale, name


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_learn_what_one_does(two: Any, name: str, tmp_path: Path) -> None:
    assert_same(arrays(two[0] / name / "checkpoint-6"), by_one(name, tmp_path, 6))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_two_goes_on_with_one(two: Any, name: str, tmp_path: Path) -> None:
    shutil.copytree(two[0] / name, tmp_path / "two")
    by_one(name, tmp_path / "one", 6)
    assert_same(by_one(name, tmp_path / "two", 9), by_one(name, tmp_path / "one", 9))


@pytest.mark.parametrize("name", RUNS)
def test_gradients_are_reduced_once_a_step(two: Any, name: str) -> None:
    for found in (each[name] for each in two[1]):
        reduced = [size for kind, size in found["calls"] if kind == "all_reduce"]
        assert [size for size in reduced if size > 3] == [found["parameters"]] * RUNS[name].total_steps
        assert {kind for kind, _ in found["calls"]} == {"all_reduce", "broadcast"}


def test_what_is_sent_does_not_grow_with_depth(two: Any) -> None:
    for found in two[1]:
        shallow, deep = found["depth"]
        assert shallow == deep
        assert shallow


def test_each_process_keeps_about_half_of_the_moments(two: Any) -> None:
    held = [each["lamb"]["held"] for each in two[1]]
    assert sum(held) == two[1][0]["lamb"]["parameters"]
    assert max(held) <= 0.6 * sum(held)
    assert [each["lamb"]["writes"] for each in two[1]] == [True, False]


@pytest.mark.parametrize("name", [*TASKS, RELATIVE])
def test_a_users_own_loop_in_two_processes(two: Any, name: str) -> None:
    model, inputs = task(name)
    with np.load(two[0] / f"{name}.npz") as found:
        assert_same(dict(found), trained(model, model, inputs))


def test_parameters_are_shared_out_evenly() -> None:
    sizes = [64, 64, 16, 16, 16, 16, 1]
    owned = shared_out([torch.nn.Parameter(torch.zeros(n)) for n in sizes], 3)
    assert sorted(sum(p.numel() for p in each) for each in owned) == [64, 64, 65]
    assert shared_out([torch.nn.Parameter(torch.zeros(2))], 2)[1] == []

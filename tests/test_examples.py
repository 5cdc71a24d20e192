"""The pretraining examples as a user runs them; with no dropout and one start the three learn alike."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import Adapter

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
STEPS = 20
FLOAT32 = 1e-4  # losses after 20 steps of LAMB in float32; measured 1e-5


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"pretrain_{name}", EXAMPLES / f"pretrain_{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["the", "cell", "divides", "light", "energy", "plant", "water", "sugar", "grows", "every", "day", "root"]
    rng = np.random.default_rng(0)
    sentences = [" ".join(rng.choice(words, 9)).capitalize() + "." for _ in range(2000)]
    path = tmp_path_factory.mktemp("examples") / "text.txt"
    path.write_text("\n\n".join(" ".join(sentences[i : i + 20]) for i in range(0, 2000, 20)))
    return path


def run(name: str, text: Path) -> tuple[list[float], str]:
    module, found = example(name), []
    train = module.train

    def recorded(*args: Any) -> None:
        found.extend(train(*args))

    module.train = recorded
    done = CliRunner().invoke(module.main, [str(text), "--steps", str(STEPS), "--batch-size", "8"])
    if done.exception is not None:
        raise done.exception
    return found, done.output


_losses: dict[str, list[float]] = {}


@pytest.mark.xdist_group("examples")
def test_the_pretraining_examples_learn_alike(backend: Adapter, text: Path) -> None:
    losses, output = run(backend.name, text)
    assert len(losses) == STEPS
    shown = re.findall(r"step (\d+)\S*  loss (\S+)", output)
    assert [int(step) for step, _ in shown] == [10, 20]
    assert [float(loss) for _, loss in shown] == pytest.approx([losses[9], losses[19]], abs=6e-4)
    assert losses[-1] < losses[0] - 0.5
    _losses[backend.name] = losses
    for other in _losses.values():
        assert losses == pytest.approx(other, abs=FLOAT32)

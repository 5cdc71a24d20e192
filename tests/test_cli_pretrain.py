"""albert pretrain as a user runs it: text to a model that opens, in each backend, and on in the next."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Adapter

RECIPE = """
[model]
embedding_size = 8
hidden_size = 16
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 32
max_position_embeddings = 32

[recipe]
batch_size = 8
sequence_length = 32
warmup_steps = 2
total_steps = 3
"""


def albert(*args: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "albert_core", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text, a recipe, and a vocabulary trained on the text."""
    folder = tmp_path_factory.mktemp("pretrain")
    rng = np.random.default_rng(0)
    words = ["the", "cell", "divides", "light", "energy", "plant", "water", "sugar", "grows", "every", "day", "root"]
    paragraphs = [
        " ".join(" ".join(rng.choice(words, 8)).capitalize() + "." for _ in range(12)) + "\n" for _ in range(60)
    ]
    (folder / "text.txt").write_text("\n".join(paragraphs))
    (folder / "recipe.toml").write_text(RECIPE)
    albert("train-tokenizer", folder / "text.txt", "--output", folder / "vocabulary", "--vocab-size", 36)
    return folder


def test_a_text_becomes_a_model(backend: Adapter, folder: Path, tmp_path: Path) -> None:
    fixed = ("pretrain", folder / "text.txt", "--tokenizer", folder / "vocabulary", "--recipe", folder / "recipe.toml")
    options = ("--output", tmp_path / "run", "--held-out", folder / "text.txt", "--accumulation", 2, "--json")
    first = json.loads(albert(*fixed, *options, "--backend", backend.name, "--checkpointing").stdout)
    assert (first["stopped"], first["step"]) == ("finished", 3)
    assert np.isfinite(first["history"][-1]["masked_loss"])
    after = {"torch": "flax", "flax": "tf", "tf": "torch"}[backend.name]
    more = albert(*fixed, *options, "--backend", after, "--set", "total_steps=5", "--set", "learning_rate=1e-4")
    assert "going on from checkpoint-3" in more.stderr
    assert json.loads(more.stdout)["step"] == 5
    model = backend.cls("AlbertForPreTraining").from_pretrained(tmp_path / "run" / "model")
    assert model.config.vocab_size == 36
    assert (tmp_path / "run" / "model" / "spiece.model").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [("total_steps", "--set: expected KEY=VALUE"), ("batch_size=-1", "batch_size: expected a number above 0, got -1")],
)
def test_a_wrong_change_is_named(folder: Path, tmp_path: Path, change: str, message: str) -> None:
    fixed = ("pretrain", folder / "text.txt", "--tokenizer", folder / "vocabulary", "--recipe", folder / "recipe.toml")
    done = albert(*fixed, "--output", tmp_path / "run", "--set", change, code=2)
    assert message in done.stderr
    assert not (tmp_path / "run").exists()

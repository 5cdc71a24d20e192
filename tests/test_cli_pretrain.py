"""albert pretrain as a user runs it: text to a model that opens, in each backend, and on in the next."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import Adapter
from torchrun import torchrun

from albert_core.cli.pretrain import read_recipe
from albert_core.errors import FormatError
from albert_core.safetensors_file import open_safetensors

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


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "albert_core", *map(str, args)]


def albert(*args: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*args), capture_output=True, text=True, check=False)
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
    assert {"loss", "masked_accuracy", "order_accuracy", "tokens_per_second"} <= first["metrics"].keys()
    assert first["backend"] == backend.name
    after = {"torch": "flax", "flax": "tf", "tf": "torch"}[backend.name]
    changes = ("--set", "total_steps=5", "--set", "learning_rate=1e-4", "--save-dtype", "bfloat16")
    more = albert(*fixed, *options, "--backend", after, *changes)
    assert "going on from checkpoint-3" in more.stderr
    assert json.loads(more.stdout)["step"] == 5
    model = backend.cls("AlbertForPreTraining").from_pretrained(tmp_path / "run" / "model")
    assert model.config.vocab_size == 36
    assert {array.dtype.name for array in model.numpy_state().values()} == {"bfloat16"}
    assert (tmp_path / "run" / "model" / "spiece.model").exists()


def test_two_processes_write_the_model_of_one(folder: Path, tmp_path: Path) -> None:
    fixed = ("pretrain", folder / "text.txt", "--tokenizer", folder / "vocabulary", "--recipe", folder / "recipe.toml")
    options = ("--backend", "torch", "--device", "cpu", "--json", "--output")
    one = json.loads(albert(*fixed, *options, tmp_path / "one").stdout)
    two = json.loads(torchrun("-m", "albert_core", *fixed, *options, tmp_path / "two", "--parallel").stdout)
    assert two["step"] == one["step"] == 3
    names = [path.relative_to(tmp_path / "one") for path in sorted((tmp_path / "one").rglob("*"))]
    assert names == [path.relative_to(tmp_path / "two") for path in sorted((tmp_path / "two").rglob("*"))]
    weights = [tmp_path / run / "model" / "model.safetensors" for run in ("one", "two")]
    with open_safetensors(weights[0]) as expected, open_safetensors(weights[1]) as got:
        assert set(got) == set(expected)
        for name in expected:
            np.testing.assert_allclose(got.read(name), expected.read(name), rtol=0, atol=1e-6, err_msg=name)


def test_a_signal_ends_the_step_saves_and_the_same_command_goes_on(folder: Path, tmp_path: Path) -> None:
    """SIGTERM where lines are plain, then SIGINT on a terminal."""
    fixed = ("pretrain", folder / "text.txt", "--tokenizer", folder / "vocabulary", "--recipe", folder / "recipe.toml")
    options = ("--output", tmp_path / "run", "--backend", "torch", "--set", "total_steps=1000000", "--json")
    run = command(*fixed, *options, "--tensorboard", tmp_path / "board")
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = next(line for line in process.stderr if line.startswith("step "))
        process.send_signal(signal.SIGTERM)
        first = json.loads(process.communicate()[0])
    assert process.returncode == 143
    assert re.fullmatch(r"step \d+/1000000  loss .*  masked .*%  order .*%  .* tokens/s  .* left\n", line)
    assert first["stopped"] == "SIGTERM"
    assert (tmp_path / "run" / f"checkpoint-{first['step']}").is_dir()
    assert list((tmp_path / "board").glob("events.out.tfevents.*"))

    shown = b""
    terminal, its_end = os.openpty()
    environment = {**os.environ, "COLUMNS": "160", "TERM": "xterm"}
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=its_end, env=environment) as process:
        os.close(its_end)
        while b"tokens/s" not in shown:
            shown += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        drain = threading.Thread(target=_read_to_the_end, args=(terminal,))
        drain.start()
        second = json.loads(process.communicate()[0])
        drain.join()
    assert process.returncode == 130
    assert f"going on from checkpoint-{first['step']}" in shown.decode()
    assert b"\x1b[" in shown  # a bar that moves
    assert second["step"] > first["step"]
    assert second["stopped"] == "SIGINT"


def _read_to_the_end(terminal: int) -> None:
    with contextlib.suppress(OSError):  # Linux tells the end of a terminal by an error
        while os.read(terminal, 4096):
            pass
    os.close(terminal)


@pytest.mark.parametrize(
    ("change", "message"),
    [("total_steps", "--set: expected KEY=VALUE"), ("batch_size=-1", "batch_size: expected a number above 0, got -1")],
)
def test_a_wrong_change_is_named(folder: Path, tmp_path: Path, change: str, message: str) -> None:
    fixed = ("pretrain", folder / "text.txt", "--tokenizer", folder / "vocabulary", "--recipe", folder / "recipe.toml")
    done = albert(*fixed, "--output", tmp_path / "run", "--set", change, code=2)
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


A_FIELD = "expected a field of AlbertConfig other than vocab_size"


@pytest.mark.parametrize(
    ("tables", "key", "expected"),
    [
        ("[model]\nvocab_size = 99", "model.vocab_size", A_FIELD),
        (
            "[model]\nnum_hidden_layer = 2",
            "model.num_hidden_layer",
            "expected a field of AlbertConfig other than vocab_size",
        ),
        ("model = 3", "model", "expected a table, got 3"),
        ("[recipe]\nbatches = 2", "recipe", "batches"),
        ("[models]", "models", r"expected only the tables \[model\] and \[recipe\]"),
        ("[model", None, "expected TOML"),
    ],
)
def test_a_wrong_recipe_is_named(tmp_path: Path, tables: str, key: str | None, expected: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(tables)
    with pytest.raises(FormatError, match=expected) as caught:
        read_recipe(path)
    assert (caught.value.facts["path"], caught.value.facts["key"]) == (str(path), key)

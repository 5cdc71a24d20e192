"""The command line as a process: what a user types, what comes out, and the exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Adapter

from albert_core.cli import group, main
from albert_core.cli.fill_mask import _show as show_fillings
from albert_core.cli.options import finite
from albert_core.hub import BUNDLED_MODEL, locate

SENTENCE = "Plants create [MASK] through a process known as photosynthesis."


def albert(*args: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `albert` with the given arguments, offline."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", **environment}
    command = [sys.executable, "-W", "ignore", "-m", "albert_core", *args]
    return subprocess.run(command, input=stdin or "", capture_output=True, text=True, env=env, timeout=300)


def answer(*args: str, stdin: str | None = None) -> dict:
    done = albert(*args, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_fill_mask_prints_five_fillings_and_names_the_model(backend: Adapter) -> None:
    done = albert("fill-mask", SENTENCE, "--backend", backend.name)
    assert done.returncode == 0, done.stderr
    assert BUNDLED_MODEL in done.stdout
    assert SENTENCE in done.stdout
    assert sum(line.startswith("│") for line in done.stdout.splitlines()) == 5, done.stdout


def test_all_backends_agree_to_the_last_digits() -> None:
    document = answer("fill-mask", SENTENCE, "--backend", "all", "--dtype", "float32")
    assert document["model"] == BUNDLED_MODEL
    fillings = document["texts"][0]["fillings"]
    assert set(fillings) == {"torch", "tf", "flax"}
    assert [len(masks[0]) for masks in fillings.values()] == [5, 5, 5]
    assert document["largest_difference"] < 1e-6
    shown = albert("fill-mask", SENTENCE, "--backend", "all", "--dtype", "float32").stdout
    assert "largest difference between backends" in shown


def test_options(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text(f"{SENTENCE}\n\nThe [MASK] of the [MASK] was high.\n")
    document = answer(
        "fill-mask", "--file", str(file), "--top-k", "2", "--targets", "food, energy", "--backend", "torch"
    )
    one, two = document["texts"]
    assert [len(mask) for mask in one["fillings"]["torch"]] == [2]
    assert [len(mask) for mask in two["fillings"]["torch"]] == [2, 2]
    assert {c["token_str"] for c in one["fillings"]["torch"][0]} == {"food", "energy"}
    assert answer("fill-mask", "--backend", "torch", stdin=SENTENCE + "\n")["texts"][0]["text"] == SENTENCE


def test_run_is_fill_mask_by_another_name() -> None:
    by_name = answer(
        "run", "--task", "fill-mask", "--model", BUNDLED_MODEL, "--device", "cpu", "--backend", "torch", stdin=SENTENCE
    )
    assert by_name == answer("fill-mask", SENTENCE, "--backend", "torch")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("fill-mask", "no mask here"), 2, "expected a text with [MASK], got 'no mask here'"),
        (("fill-mask",), 2, "expected at least one text"),
        (("fill-mask", SENTENCE, "--top-k", "0"), 2, "top-k"),
        (("fill-mask", SENTENCE, "--dtype", "int8"), 2, "int8"),
        (("fill-mask", SENTENCE, "--backend", "theano"), 2, "theano"),
        (("fill-mask", SENTENCE, "--model", "albert-base-v2"), 3, "hf download albert/albert-base-v2"),
        (("fill-mask", SENTENCE, "--model", "./no/such/folder"), 3, "no/such/folder"),
        (("fill-mask", "--file", "no-such-file.txt"), 3, "no-such-file.txt"),
        (("train-tokenizer", "no-such-file.txt", "--output", "x"), 3, "no-such-file.txt"),
        (("no-such-command",), 2, "no-such-command"),
    ],
)
def test_errors_are_one_line_and_a_code(args: tuple[str, ...], code: int, message: str) -> None:
    done = albert(*args)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert message in done.stderr


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (("fill-mask", "--bogus"), "--bogus"),
        (("parity", "--lanes", "float65"), "float65"),
        (("parity", "--head", "Nonsense"), "--head: expected one of AlbertModel"),
        (("parity", "--text", "nobody reads this"), "expected --model with them"),
        (
            ("prepare-data", "x", "--tokenizer", "y", "-o", "z", "--shard-size", "nan"),
            "--shard-size: expected a number",
        ),
    ],
)
def test_wrong_usage_is_a_document_too(args: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*args, "--json"])
    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"] == "usage"
    assert named in json.loads(shown.out)["message"]
    assert named in shown.err


def test_a_run_that_diverged_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def diverge(*_: Any, **__: Any) -> None:
        raise FloatingPointError("the loss of step 3 is nan")

    monkeypatch.setattr(group, "main", diverge)
    with pytest.raises(SystemExit, match="1"):
        main(["pretrain", "--json"])
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"error": "fault", "message": "the loss of step 3 is nan"}
    assert shown.err == "albert: the loss of step 3 is nan\n"


def test_json_has_no_nan() -> None:
    assert finite({"a": [float("nan"), 1.0], "b": (float("inf"), "x", None)}) == {
        "a": [None, 1.0],
        "b": [None, "x", None],
    }


def test_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    filling = {"token": 7, "token_str": "[/i]", "score": 0.5}
    show_fillings("a[/b]", ["the [MASK]"], {"torch": [[filling]]})
    shown = capsys.readouterr().out
    assert "model a[/b]" in shown
    assert "[/i]" in shown


@pytest.mark.parametrize(("fault", "code"), [("truncated", 4), ("flipped", 5), ("config", 4)])
def test_a_damaged_model(fault: str, code: int, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(locate(BUNDLED_MODEL).folder, folder)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    if fault == "truncated":
        weights.write_bytes(data[:-1])
    elif fault == "flipped":
        data[len(data) // 2] ^= 1
        weights.write_bytes(data)
    else:
        (folder / "config.json").write_text('{"model_type": "albert", "hidden_size": -1}')
    done = albert("fill-mask", SENTENCE, "--model", str(folder), "--backend", "torch", "--json")
    assert done.returncode == code, done.stderr
    assert str(folder) in done.stderr
    assert "error" in json.loads(done.stdout)


def test_help_names_every_command() -> None:
    done = albert("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("fill-mask", "run", "train-tokenizer", "pretrain"))
    assert "albert" in albert("--version").stdout


def test_train_a_tokenizer_and_pretrain_on_text(tmp_path: Path) -> None:
    words = "the plant makes food from light and water while a leaf takes in air and the root drinks".split()
    lines = [" ".join(words[i % 17 :] + words[: i % 17]) + f" number {i}." for i in range(400)]
    text = tmp_path / "text.txt"
    text.write_text("\n".join(line + ("\n" if i % 20 == 19 else "") for i, line in enumerate(lines)))
    done = albert("train-tokenizer", str(text), "--output", str(tmp_path / "tokenizer"), "--vocab-size", "90", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["vocab_size"] == 90
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "[model]\nembedding_size = 16\nhidden_size = 32\nnum_hidden_layers = 2\nnum_attention_heads = 2\n"
        "intermediate_size = 64\nmax_position_embeddings = 64\n"
        '[recipe]\noptimizer = "adamw"\nlearning_rate = 0.003\nbatch_size = 8\nsequence_length = 32\n'
        "warmup_steps = 5\ntotal_steps = 12\n"
    )
    run = ("pretrain", str(text), "--recipe", str(recipe), "--tokenizer", str(tmp_path / "tokenizer"))
    done = albert(*run, "--held-out", str(text), "--output", str(tmp_path / "run"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 12
    model = json.loads(done.stdout)["model"]
    document = answer("fill-mask", "the plant makes [MASK] from light.", "--model", model, "--backend", "torch")
    assert len(document["texts"][0]["fillings"]["torch"][0]) == 5

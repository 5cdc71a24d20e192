"""albert convert, inspect and verify as processes: what comes out, and the exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conversion_cases import SIZES, convert, saved, tensors_of

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parameters import initial_state

CONFIG = AlbertConfig(**SIZES)
HEAD = "AlbertForQuestionAnswering"


def run(*args: object, module: str = "albert_core") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "80"}
    command = [sys.executable, "-W", "ignore", "-m", module, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)


def finite(head: str = HEAD) -> dict[str, np.ndarray]:
    state = initial_state(CONFIG, HEADS[head].all_parts(), 1)
    return {n: a.astype(np.float32) for n, a in state.items() if "decoder" not in n}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return saved(tmp_path / "source", CONFIG, HEAD, finite())


def test_convert_shows_what_becomes_of_every_tensor(source: Path, tmp_path: Path) -> None:
    out = saved(tmp_path / "out", CONFIG, HEAD, finite())
    done = run("convert", source, out, "--to", "msgpack")
    assert done.returncode == 0, done.stderr
    assert "albert.embeddings.word_embeddings.weight" in done.stdout
    assert "(safetensors, verified): 25 read" in done.stdout
    assert "(msgpack, AlbertForQuestionAnswering, float32): written" in done.stdout
    assert f"note: {out / 'model.safetensors'} is there too" in done.stdout
    assert tensors_of(out / "flax_model.msgpack") == tensors_of(source)


def test_the_package_runs_as_a_module_and_speaks_json(source: Path, tmp_path: Path) -> None:
    done = run(source, tmp_path / "out", "--to", "tf1", "--dry-run", "--json", module="albert_conversion")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["head"], document["written"], document["counts"]) == (HEAD, False, {"read": 25})
    assert document["lines"][0].keys() == {"source", "target", "action", "rule", "dtype", "shape", "nbytes"}
    assert not (tmp_path / "out").exists()


def test_inspect(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", "h5")
    document = json.loads(run("inspect", tmp_path / "out", "--json").stdout)
    assert (document["format"], document["head"], document["non_finite"]) == ("h5", HEAD, 0)
    assert document["config"]["vocab_size"] == CONFIG.vocab_size
    assert len(document["tensors"]) == 25
    state = {**finite(), "albert.pooler.bias": np.array([1, np.nan, np.inf, 0, 0, 0], np.float32)}
    state["albert.pooler.weight"] = np.zeros((6, 6), np.float32)
    done = run("inspect", saved(tmp_path / "bad", CONFIG, HEAD, state))
    assert done.returncode == 6
    assert "2 values are NaN or infinite" in done.stdout
    (tmp_path / "out/config.json").unlink()
    done = run("inspect", tmp_path / "out")
    assert done.returncode == 6
    assert "not a complete model" in done.stdout
    assert "25 tensors" in done.stdout


def test_verify(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "same", "tf1")
    done = run("verify", source, tmp_path / "same")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "the same"), done.stderr
    state = finite()
    state["qa_outputs.bias"] = state["qa_outputs.bias"] + np.float32([0, 1])
    done = run("verify", saved(tmp_path / "other", CONFIG, HEAD, state), tmp_path / "same", "--json")
    assert done.returncode == 6
    document = json.loads(done.stdout)
    assert document["differences"][0] == {"name": "qa_outputs.bias", "reason": "1 of 2 values differ, by up to 1"}
    assert document["outputs"]["start_logits"] == 0
    assert document["outputs"]["end_logits"] == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("no-such", "x"), 3, "no-such"),
        (("{source}", "{out}", "--to", "onnx"), 2, "onnx"),
        (("{source}", "{out}", "--head", "AlbertForNothing"), 2, "AlbertForNothing"),
        (("{source}", "{out}", "--dtype", "int8"), 2, "int8"),
        (("{source}", "{out}", "--dtype", "bfloat16", "--to", "h5"), 4, "cannot hold the dtype bfloat16"),
        (("{source}/config.json", "{out}"), 4, "expected a checkpoint"),
        (("{source}/model.safetensors", "{source}/config.json"), 1, "expected a folder or nothing, got a file"),
    ],
)
def test_errors_are_one_line_and_a_code(args: tuple[str, ...], code: int, message: str, source: Path) -> None:
    out = source.parent / "out"
    done = run("convert", *(a.format(source=source, out=out) for a in args))
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert message in done.stderr
    assert not out.exists()

"""albert parity as a user runs it: its table, its document, and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import Adapter

from albert_core import parity
from albert_core.cli.parity import command
from albert_core.config import AlbertConfig
from albert_core.parity_suite import TINY


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "albert_core", "parity", *args], capture_output=True, text=True, check=False
    )


def test_the_suite_of_one_head(backend: Adapter) -> None:
    done = run("--head", "AlbertForQuestionAnswering", "--lanes", "float64", "--backends", backend.name, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["ok"] is True
    assert document["heads"] == ["AlbertForQuestionAnswering"]
    outputs = {row["output"] for row in document["rows"]}
    assert outputs == {"outputs", "outputs, fused attention", "gradients"}
    for row in document["rows"]:
        assert 0 <= row["rho"] <= row["gate"] <= 1e-12
        assert row["largest"] < 1e-12
    assert max(row["rho"] for row in document["rows"]) > 0, "compared with itself"


def test_a_checkpoint_on_texts(tmp_path: Path) -> None:
    lines = tmp_path / "texts.txt"
    lines.write_text("The cell is the basic unit of [MASK].\n\nA short one.\n")
    options = ("--model", "albert-openstax", "--file", str(lines), "--lanes", "float64,float32", "--backends", "torch")
    done = run(*options, "--no-gradients", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["model"] == "albert-openstax"
    lanes = {(row["lane"], row["output"]) for row in document["rows"]}
    assert ("float64", "hidden_states") in lanes
    assert not any(output == "gradients" for _, output in lanes)


def test_a_checkpoint_of_another_head_with_choices(tmp_path: Path) -> None:
    """Its vocabulary is that of the bundled model, beside which it is put."""
    import shutil

    import albert_core
    from albert_torch import AlbertForMultipleChoice

    bundled = Path(albert_core.__file__).parent / "bundled" / "albert-openstax"
    size = AlbertConfig.from_pretrained(bundled).vocab_size
    AlbertForMultipleChoice(AlbertConfig(**{**TINY, "vocab_size": size})).save_pretrained(tmp_path / "model")
    shutil.copy(bundled / "spiece.model", tmp_path / "model")
    done = run("--model", str(tmp_path / "model"), "--backends", "torch", "--lanes", "float64", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["heads"] == ["AlbertForMultipleChoice"]


def test_a_missed_gate_is_exit_code_6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(parity.GATE, "float64", {"forward": 1e-30, "gradient": 1e-30})
    options = ["--head", "AlbertModel", "--lanes", "float64", "--backends", "torch"]
    done = CliRunner().invoke(command, options)
    assert done.exit_code == 6
    assert "MISSED" in done.stdout
    document = json.loads(CliRunner().invoke(command, [*options, "--json"]).stdout)
    assert document["ok"] is False


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--backends", "torch,mxnet"), 2, "--backends: expected some of torch, tf, flax, got 'mxnet'"),
        (("--lanes", "float8"), 2, "--lanes: expected some of float64, float32, bfloat16, float16, got 'float8'"),
        (
            ("--model", "albert-openstax", "--head", "AlbertForPoetry", "--backends", "torch"),
            2,
            "--head: expected one of",
        ),
        (("--model", "no/such-folder-here", "--backends", "torch"), 3, "no/such-folder-here"),
    ],
)
def test_what_is_refused(args: tuple[str, ...], code: int, message: str) -> None:
    done = run(*args)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_numbers_that_are_not_finite_miss_every_gate() -> None:
    import numpy as np

    assert parity.rho(np.array([1.0, np.nan]), np.ones(2)) == float("inf")
    assert not parity.Measured("float16", "gradients", "torch", 1.0, float("inf"), float("inf")).ok
    with pytest.raises(ValueError, match="shape: expected"):
        parity.rho(np.ones(2), np.ones(3))

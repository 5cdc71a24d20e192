"""Exported programs run without this package, for any batch and length, and are for CPU, GPU and TPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import albert_flax
from albert_core.config import AlbertConfig
from albert_core.parity_suite import GROUPS, TINY, batch, drawn_state, with_choices
from albert_flax.export import PLATFORMS, PROGRAM, WEIGHTS, export_model, exported_program

RUN = Path(__file__).with_name("flax_exported.py")


@pytest.fixture(autouse=True, scope="module")
def quick_compilation() -> Iterator[None]:
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def make_model(head: str, **changes: Any) -> Any:
    config = AlbertConfig(**{**TINY, "num_hidden_layers": 2, "hidden_dropout_prob": 0.1, **changes})
    model = getattr(albert_flax, "Flax" + head)(config)
    model.load_numpy_state(drawn_state(config, head))
    return model


def test_it_runs_in_a_process_without_this_package(tmp_path: Path) -> None:
    """Without the checkout on the path, in isolated mode; the model was in training when it was exported."""
    model = make_model("AlbertForPreTraining", **GROUPS["2x2"], position_embedding_type="relative_key")
    export_model(model, tmp_path / "exported")
    assert sorted(p.name for p in (tmp_path / "exported").iterdir()) == [PROGRAM, WEIGHTS]
    inputs = {name: value.astype(np.int32) for name, value in batch(model.config, length=9).items()}
    np.savez(tmp_path / "batch.npz", **inputs)
    command = [sys.executable, "-I", RUN, tmp_path / "exported", tmp_path / "batch.npz", tmp_path / "found.npz"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    model.eval()
    expected = model.run_numpy(**inputs)
    with np.load(tmp_path / "found.npz") as found:
        assert set(found.files) == {f"{n}.{key}" for n in ("all", "one") for key in ("prediction_logits", "sop_logits")}
        for key, value in expected.items():
            np.testing.assert_allclose(found[f"all.{key}"], value, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(found[f"one.{key}"], value[:1], rtol=1e-5, atol=1e-5)


def test_the_program_holds_no_weights_and_is_for_every_platform() -> None:
    exported = exported_program(make_model("AlbertForMultipleChoice"))
    assert exported.platforms == PLATFORMS == ("cpu", "cuda", "tpu")
    dims = [str(aval.shape) for aval in exported.in_avals[-3:]]
    assert dims == ["(batch, choices, sequence)"] * 3
    assert 'dense<"0x' not in exported.mlir_module(), "how an array of numbers would stand in it"
    inputs = with_choices(batch(AlbertConfig(**TINY)))
    assert exported.in_tree.num_leaves == len(inputs) + len(make_model("AlbertForMultipleChoice").own_parameters())


def test_fixed_sizes_and_other_inputs() -> None:
    model = make_model("AlbertModel")
    names = ("inputs_embeds", "attention_mask", "head_mask")
    exported = exported_program(model, inputs=names, batch=2, length=5)
    shapes = {str(aval.dtype): aval.shape for aval in exported.in_avals[-3:]}
    assert [aval.shape for aval in exported.in_avals[-3:]] == [(2, 5), (2, 3), (2, 5, 6)]  # by name
    assert set(shapes) == {"int32", "float32"}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"length": 17}, "length: expected 1 to max_position_embeddings = 16, got 17"),
        ({"inputs": ("input_ids", "labels")}, "inputs: expected some of .*, got labels"),
    ],
)
def test_what_cannot_be_exported(options: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=problem):
        export_model(make_model("AlbertModel"), tmp_path / "exported", **options)
    assert not list(tmp_path.iterdir())

"""The same seed gives the same bytes, here and in a fresh process; another split into batches the same rows."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import UNIT_ROUNDOFF_FLOAT32, Adapter

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parity import rho
from albert_core.parity_suite import TINY, batch, drawn_state

TESTS = Path(__file__).parent
DROPPING = {f"{name}_dropout_prob": 0.3 for name in ("hidden", "attention_probs", "classifier")}


def seeded(backend: Adapter, seed: int, **changes: Any) -> Any:
    """A model of the framework's own initial weights, with the framework's own seeding."""
    config, cls = AlbertConfig(**{**TINY, **changes}), backend.cls("AlbertForSequenceClassification")
    if backend.name == "flax":
        from flax import nnx

        return cls(config, rngs=nnx.Rngs(seed))
    if backend.name == "tf":
        import keras

        keras.utils.set_random_seed(seed)
    else:
        import torch

        torch.manual_seed(seed)
    return cls(config)


def digest(arrays: dict[str, np.ndarray]) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(arrays[n]).tobytes() for n in sorted(arrays))).hexdigest()


def one_pass(backend: Adapter, seed: int) -> str:
    """Digest of the initial weights and of the gradients of one pass in training, dropout and all."""
    model = seeded(backend, seed, **DROPPING)
    inputs = {**batch(model.config), "labels": np.array([0, 1, 1])}
    if backend.name != "tf":
        model.train()
    gradients = model.gradients_numpy(**inputs, **({"training": True} if backend.name == "tf" else {}))
    return digest(model.numpy_state()) + digest(gradients)


def test_a_seed_gives_the_same_bytes_in_every_process(backend: Adapter) -> None:
    first, second, other = one_pass(backend, 1), one_pass(backend, 1), one_pass(backend, 2)
    assert first == second
    assert first != other
    code = "from conftest import Adapter; from test_determinism import one_pass; "
    code += f"print(one_pass(Adapter({backend.name!r}), 1))"
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TESTS)
    assert fresh.stdout.split()[-1] == first


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_evaluation_draws_nothing(backend: Adapter, attention: str) -> None:
    config = AlbertConfig(**TINY, **DROPPING)
    state = {name: value.astype(np.float32) for name, value in drawn_state(config, "AlbertForPreTraining").items()}
    model = backend.model("AlbertForPreTraining", config, "float32", state, attn_implementation=attention)
    plain = AlbertConfig(**TINY)
    without = backend.model("AlbertForPreTraining", plain, "float32", state, attn_implementation=attention)
    first, second, third = (digest(backend.run(m, batch(config))) for m in (model, model, without))
    assert first == second == third


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("head", ["AlbertModel", "AlbertForMaskedLM", "AlbertForTokenClassification"])
def test_rows_do_not_see_their_neighbours(backend: Adapter, head: str, attention: str) -> None:
    config = AlbertConfig(**TINY, num_hidden_groups=3)
    state = {name: value.astype(np.float32) for name, value in drawn_state(config, head).items()}
    model = backend.model(head, config, "float32", state, attn_implementation=attention)
    inputs = batch(config, batch_size=6)
    together = backend.run(model, inputs)
    for start, end in ((0, 1), (1, 3), (3, 6)):
        apart = backend.run(model, {name: value[start:end] for name, value in inputs.items()})
        for name, value in apart.items():
            assert rho(value, together[name][start:end]) <= 4 * UNIT_ROUNDOFF_FLOAT32


CLASSIFIERS = [head for head in HEADS if "classifier" in " ".join(HEADS[head].parts)]


@pytest.mark.parametrize("head", CLASSIFIERS)
def test_classifiers_drop_and_only_in_training(backend: Adapter, head: str) -> None:
    config = AlbertConfig(**{**TINY, "hidden_dropout_prob": 0.0, "classifier_dropout_prob": 0.5})
    model = backend.model(head, config, "float32")
    ids = batch(config)["input_ids"]
    inputs = {"input_ids": ids[:, None] if HEADS[head].signature.choices else ids}
    name = "sop_logits" if head == "AlbertForPreTraining" else "logits"

    def trained() -> np.ndarray:
        if backend.name == "tf":
            return model(**inputs, training=True)[name].numpy()
        found = model.train() or model
        return np.asarray(found(**inputs)[name].detach() if backend.name == "torch" else model(**inputs)[name])

    assert np.abs(trained() - trained()).max() > 1e-6
    model = model._finish(None)
    assert np.array_equal(backend.run(model, inputs)[name], backend.run(model, inputs)[name])

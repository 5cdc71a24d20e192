"""Dropout is where the config says, drops as often as it says, and is gone in evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import Adapter

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parameters import initial_state
from albert_core.parity_suite import TINY

RATE = 0.25
LAYER = "albert.encoder.albert_layer_groups.0.albert_layers.0."
WIDTH = 64
# place -> the dropout it belongs to, and the bias whose ones are dropped there while all else is zero
PLACES = {
    "embeddings": ("hidden_dropout_prob", "albert.embeddings.LayerNorm.bias"),
    "attention_output": ("hidden_dropout_prob", LAYER + "attention.dense.bias"),
    "feed_forward": ("hidden_dropout_prob", LAYER + "ffn_output.bias"),
}


def in_training(backend: Adapter, model: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    if backend.name == "tf":
        return model(**inputs, training=True).last_hidden_state.numpy()
    model.train()
    return np.asarray(
        model(**inputs).last_hidden_state.detach() if backend.name == "torch" else model(**inputs).last_hidden_state
    )


def one_layer(**changes: Any) -> AlbertConfig:
    sizes = {"embedding_size": WIDTH, "hidden_size": WIDTH, "num_attention_heads": 4, "num_hidden_layers": 1}
    return AlbertConfig(**{**TINY, **sizes, **changes})


def zeros(config: AlbertConfig) -> dict[str, np.ndarray]:
    """Weights that are all zero, norms included."""
    drawn = initial_state(config, HEADS["AlbertModel"].all_parts(), 0)
    return {name: np.zeros_like(value, np.float32) for name, value in drawn.items()}


@pytest.mark.parametrize("place", PLACES)
def test_values_are_dropped_at_the_rate(backend: Adapter, place: str) -> None:
    """All weights are zero but one bias of ones, so hidden states are two-valued exactly where ones were dropped."""
    field, bias = PLACES[place]
    config = one_layer(**{field: RATE})
    state = zeros(config)
    state[bias] += 1.0
    state["albert.encoder.embedding_hidden_mapping_in.weight"] += np.eye(WIDTH, dtype=np.float32)
    for norm in ("attention.LayerNorm", "full_layer_layer_norm"):
        state[f"{LAYER}{norm}.weight"] += 1.0
    model = backend.model("AlbertModel", config, "float32", state)
    inputs = {"input_ids": np.ones((40, 16), dtype=np.int64)}
    resting = model.run_numpy(**inputs).last_hidden_state
    assert np.ptp(resting) < 1e-3, "dropout in evaluation"
    found = in_training(backend, model, inputs)  # [B, S, H]
    kept = (found > 0).mean()
    values = found.size
    assert abs(kept - (1 - RATE)) < 5 * np.sqrt(RATE * (1 - RATE) / values)
    assert len({row.tobytes() for row in (found > 0).reshape(-1, WIDTH)}) > 600, "the same pattern again and again"


def test_attention_probabilities_are_dropped(backend: Adapter) -> None:
    config = one_layer(attention_probs_dropout_prob=RATE)
    state = initial_state(config, HEADS["AlbertModel"].all_parts(), 0)
    model = backend.model("AlbertModel", config, "float32", {k: v.astype(np.float32) for k, v in state.items()})
    inputs = {"input_ids": np.arange(32).reshape(2, 16) % 37}
    assert np.array_equal(model.run_numpy(**inputs)[0], model.run_numpy(**inputs)[0])
    first, second = in_training(backend, model, inputs), in_training(backend, model, inputs)
    assert np.abs(first - second).max() > 1e-3


def test_every_layer_draws_its_own(backend: Adapter) -> None:
    """Two layers that shared one pattern would drop the same values twice."""
    config = one_layer(hidden_dropout_prob=0.5, num_hidden_layers=2)
    state = zeros(config)
    state[LAYER + "ffn_output.bias"] += 1.0
    for norm in ("attention.LayerNorm", "full_layer_layer_norm"):
        state[f"{LAYER}{norm}.weight"] += 1.0
    model = backend.model("AlbertModel", config, "float32", state)
    found = in_training(backend, model, {"input_ids": np.ones((40, 16), dtype=np.int64)})
    # the second layer adds {0, 2} to the normalised {-1, 1} of the first: four values, unless the patterns are one
    assert len(np.unique(np.round(found[0, 0], 2))) > 2

"""Arrays by canonical name: what goes in comes out, and stands in the framework's own layout."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Adapter

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parity_suite import GROUPS, TINY, drawn_state


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("groups", GROUPS)
def test_arrays_come_out_as_they_went_in(backend: Adapter, head: str, groups: str) -> None:
    config = AlbertConfig(**TINY, **GROUPS[groups], position_embedding_type="relative_key", num_labels=4)
    state = {name: value.astype(np.float32) for name, value in drawn_state(config, head).items()}
    model = backend.model(head, config, "float32", state)
    assert model.numpy_state().keys() == state.keys()
    assert all(np.array_equal(value, state[name]) for name, value in model.numpy_state().items())


def test_a_matrix_stands_in_the_layout_of_its_framework(backend: Adapter) -> None:
    config = AlbertConfig(**TINY)
    state = {name: value.astype(np.float32) for name, value in drawn_state(config, "AlbertModel").items()}
    model = backend.model("AlbertModel", config, "float32", state)
    feed_forward = model.encoder.albert_layer_groups[0].albert_layers[0].ffn
    kernel = feed_forward.weight.detach() if backend.name == "torch" else feed_forward.kernel
    wanted = next(value for name, value in state.items() if name.endswith("ffn.weight"))  # [F, H]
    assert wanted.shape == (20, 15)
    assert np.array_equal(np.asarray(kernel), wanted if backend.name == "torch" else wanted.T)

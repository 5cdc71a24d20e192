"""Every backend against the float64 reference: forward, losses, gradients, over every configuration.

The bounds stand in `albert_core.parity`. A failure here is a bug to understand, never a number to loosen.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from conftest import UNIT_ROUNDOFF_FLOAT32, Adapter, assert_close, assert_gradients_close

from albert_core import reference
from albert_core.config import POSITION_EMBEDDING_TYPES, PRESETS, AlbertConfig
from albert_core.dtypes import DTYPES
from albert_core.heads import HEADS
from albert_core.parameters import initial_state
from albert_core.parity import GATE, reference_gradients, rho
from albert_core.parity_suite import GROUPS, TINY, batch, drawn_state

STATES = {"output_hidden_states": True, "output_attentions": True}


def make(groups: str = "1x1", head: str = "AlbertForMaskedLM", **changes: Any) -> tuple[AlbertConfig, dict]:
    config = AlbertConfig(**{**TINY, **GROUPS[groups], **changes})
    return config, drawn_state(config, head)


def labelled(config: AlbertConfig, seed: int = 0) -> dict[str, np.ndarray]:
    inputs = batch(config, seed)
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, config.vocab_size, inputs["input_ids"].shape)
    labels[rng.random(labels.shape) < 0.5] = -100
    labels[0, 0] = 3
    return {**inputs, "labels": labels}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("positions", POSITION_EMBEDDING_TYPES)
@pytest.mark.parametrize("groups", GROUPS)
def test_masked_lm_forward_float64(backend: Adapter, groups: str, positions: str, attention: str) -> None:
    config, state = make(groups, position_embedding_type=positions)
    flags = STATES if attention == "eager" else {"output_hidden_states": True}
    with backend.precision("float64"):
        model = backend.model("AlbertForMaskedLM", config, state=state, attn_implementation=attention)
        for inputs in (labelled(config), {"input_ids": batch(config)["input_ids"]}):
            oracle = reference.forward(config, state, inputs, "AlbertForMaskedLM")
            got = backend.run(model, inputs, **flags)
            assert_close(
                got,
                {k: v for k, v in oracle.items() if k != "attentions" or attention == "eager"},
                GATE["float64"]["forward"],
            )
            assert ("attentions" in got) is (attention == "eager")


def _inputs_of(case: str, config: AlbertConfig) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    plain = batch(config)
    B, S = plain["input_ids"].shape
    N, L, X = config.num_attention_heads, config.num_hidden_layers, config.max_position_embeddings
    square = rng.integers(0, 2, (B, S, S))
    square[0, 2] = 0  # one position that may attend to nothing
    changes: dict[str, dict[str, Any]] = {
        "mask_3d": {"attention_mask": square},
        "mask_4d": {"attention_mask": square[:, None].astype(bool)},
        "mask_4d_per_head": {"attention_mask": rng.integers(0, 2, (B, N, S, S))},
        "mask_bool": {"attention_mask": plain["attention_mask"].astype(bool)},
        "mask_float": {"attention_mask": plain["attention_mask"].astype(np.float32)},
        "position_ids": {"position_ids": rng.integers(0, X, (B, S))},
        "one_row_of_position_ids": {"position_ids": rng.integers(0, X, (1, S))},
        "inputs_embeds": {"input_ids": None, "inputs_embeds": rng.normal(size=(B, S, config.embedding_size))},
        "head_mask": {"head_mask": rng.random(N)},
        "head_mask_per_layer": {"head_mask": rng.random((L, N))},
        "int32": {name: value.astype(np.int32) for name, value in plain.items()},
        "one_piece": {name: value[:, :1] for name, value in plain.items()},
    }
    return {k: v for k, v in {**plain, **changes[case]}.items() if v is not None}


CASES = ("mask_3d", "mask_4d", "mask_4d_per_head", "mask_bool", "mask_float", "position_ids", "one_row_of_position_ids",
         "inputs_embeds", "head_mask", "head_mask_per_layer", "int32", "one_piece")  # fmt: skip


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("case", CASES)
def test_every_input_of_the_encoder_float64(backend: Adapter, case: str, attention: str) -> None:
    config, state = make(
        "2x2", "AlbertModel", position_embedding_type="relative_key" if case.startswith("mask") else "absolute"
    )
    inputs = _inputs_of(case, config)
    with backend.precision("float64"):
        model = backend.model("AlbertModel", config, state=state, attn_implementation=attention)
        got = backend.run(model, inputs, output_hidden_states=True)
    oracle = reference.forward(config, state, inputs)
    oracle.pop("attentions")
    assert_close(got, oracle, GATE["float64"]["forward"])


def test_twelve_layers_float64(backend: Adapter) -> None:
    config, state = make(num_hidden_layers=12, hidden_act="gelu")
    inputs = labelled(config)
    with backend.precision("float64"):
        got = backend.run(backend.model("AlbertForMaskedLM", config, state=state), inputs)
    oracle = reference.forward(config, state, inputs, "AlbertForMaskedLM")
    assert_close(got, {k: oracle[k] for k in ("loss", "logits")}, GATE["float64"]["forward_12_layers"])


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("positions", ["absolute", "relative_key"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_a_fully_masked_row_uniform(
    backend: Adapter, dtype: str, positions: str, attention: str
) -> None:
    config, state = make("2x2", position_embedding_type=positions)
    inputs = labelled(config)
    held = {name: value.astype(DTYPES[dtype]) for name, value in state.items()}
    got = backend.run(backend.model("AlbertForMaskedLM", config, dtype, held, attn_implementation=attention), inputs)
    wide = {name: value.astype(np.float64) for name, value in held.items()}
    oracle = reference.forward(config, wide, inputs, "AlbertForMaskedLM")
    assert_close(got, {"logits": oracle["logits"]}, GATE[dtype]["forward"])


@functools.cache
def _gradient_case(groups: str, positions: str) -> tuple[Any, ...]:
    config, state = make(groups, position_embedding_type=positions)
    inputs = labelled(config)
    inputs["input_ids"][0, 1] = config.pad_token_id  # the pad row gets no gradient from here
    return config, state, inputs, reference_gradients(config, state, inputs, "AlbertForMaskedLM")


EVERY_LAYOUT = [(g, p, "float64", "sdpa") for g in GROUPS for p in POSITION_EMBEDDING_TYPES]
OTHERWISE = [("2x2", p, *how) for p in POSITION_EMBEDDING_TYPES for how in (("float64", "eager"), ("float32", "sdpa"))]


@pytest.mark.parametrize(("groups", "positions", "dtype", "attention"), [*EVERY_LAYOUT, *OTHERWISE])
def test_masked_lm_gradients(backend: Adapter, groups: str, positions: str, dtype: str, attention: str) -> None:
    config, state, inputs, oracle = _gradient_case(groups, positions)
    with backend.precision(dtype):
        model = backend.model("AlbertForMaskedLM", config, dtype, state, attn_implementation=attention)
        got = backend.gradients(model, inputs)
    assert_gradients_close(got, oracle, GATE[dtype]["gradient"])


@pytest.mark.long
def test_base_size_float32(backend: Adapter) -> None:
    """ALBERT base at 4 x 128 is as exact as transformers' class, and within the cap."""
    import torch
    import transformers

    config = AlbertConfig.from_preset("albert-base-v2")
    state = initial_state(config, HEADS["AlbertForMaskedLM"].all_parts(), 0)
    state = {name: value.astype(np.float32) for name, value in state.items()}
    inputs = batch(config, batch_size=4, length=128)
    theirs = transformers.AlbertForMaskedLM(transformers.AlbertConfig(**PRESETS["albert-base-v2"])).eval()
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    with torch.no_grad():
        peer = theirs(**{k: torch.from_numpy(v) for k, v in inputs.items()}).logits.numpy()
    wide = {name: value.astype(np.float64) for name, value in state.items()}
    oracle = reference.forward(config, wide, inputs, "AlbertForMaskedLM")["logits"]
    got = backend.run(backend.model("AlbertForMaskedLM", config, "float32", state), inputs)
    bound = min(2 * rho(peer, oracle) + 4 * UNIT_ROUNDOFF_FLOAT32, GATE["float32"]["forward"])
    assert_close(got, {"logits": oracle}, bound)


def test_tuples_and_flags_of_the_config(backend: Adapter) -> None:
    config, state = make(output_attentions=True, return_dict=False)
    model = backend.model("AlbertForMaskedLM", config, "float32", {k: v.astype(np.float32) for k, v in state.items()})
    out = model(**batch(config))
    assert isinstance(out, tuple)
    assert len(out) == 2
    assert len(out[1]) == config.num_hidden_layers
    named = model(**batch(config), return_dict=True, output_attentions=False)
    assert named.keys() == ("logits",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_ids": np.array([[1, 37]])}, "expected ids from 0 to 36"),
        ({"input_ids": np.array([[1, -1]])}, "got -1"),
        ({"token_type_ids": np.array([[0, 2]])}, "type_vocab_size = 2"),
        ({"position_ids": np.array([[0, 16]])}, "max_position_embeddings = 16"),
        ({"attention_mask": np.ones((1, 3), int)}, "attention_mask: expected shape"),
    ],
)
def test_bad_input_is_a_value_error(backend: Adapter, change: dict, message: str) -> None:
    config, _ = make()
    model = backend.model("AlbertForMaskedLM", config, "float32")
    with pytest.raises(ValueError, match=message):
        model(**{"input_ids": np.array([[1, 2]]), **change})

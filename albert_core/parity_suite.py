"""What every parity run covers: small models of each layout, random weights, batches with padding and an empty row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from albert_core.config import POSITION_EMBEDDING_TYPES, AlbertConfig
from albert_core.heads import HEADS
from albert_core.numerics import IGNORED_LABEL
from albert_core.parameters import initial_state
from albert_core.signature import LABELS, PER_CHOICE

__all__ = ["GROUPS", "TINY", "Setting", "batch", "drawn_state", "empty_row", "labels_for", "settings", "with_choices"]

TINY: dict[str, Any] = {
    "vocab_size": 37,
    "embedding_size": 6,
    "hidden_size": 15,  # heads of size 5, whose scale no binary fraction holds
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "num_hidden_layers": 6,
    "max_position_embeddings": 16,
    "initializer_range": 0.2,  # above it positions grow alike, and every dtype loses digits to that
}
GROUPS: dict[str, dict[str, int]] = {
    "1x1": {},
    "2x2": {"num_hidden_groups": 2, "inner_group_num": 2},
    "3x1": {"num_hidden_groups": 3},
}
CHOICES = 2


@dataclass(frozen=True)
class Setting:
    """One model with one batch."""

    head: str
    config: AlbertConfig
    state: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]


def settings() -> Iterator[Setting]:
    """Every layout with every kind of positions under the pretraining head, then every other head."""
    for groups in GROUPS.values():
        for positions in POSITION_EMBEDDING_TYPES:
            yield _setting("AlbertForPreTraining", position_embedding_type=positions, **groups)
    for head in HEADS:
        if head != "AlbertForPreTraining":
            yield _setting(head, position_embedding_type="relative_key_query", num_labels=3, **GROUPS["2x2"])


def _setting(head: str, **changes: Any) -> Setting:
    config = AlbertConfig(**{**TINY, **changes})
    inputs = batch(config)
    if HEADS[head].signature.choices:
        inputs = with_choices(inputs)
    return Setting(head, config, drawn_state(config, head), {**inputs, **labels_for(config, head, inputs)})


def drawn_state(config: AlbertConfig, head: str, seed: int = 7) -> dict[str, np.ndarray]:
    """float64 weights in which nothing is left at its start: a bias of zeros or a norm of ones would hide a fault."""
    state = initial_state(config, HEADS[head].all_parts(), seed)
    rng = np.random.default_rng(seed)
    for name, value in state.items():
        if name.endswith("bias") or "norm" in name.lower():
            value += rng.normal(0, 0.1, value.shape)
    return state


def batch(config: AlbertConfig, seed: int = 0, batch_size: int = 3, length: int = 7) -> dict[str, np.ndarray]:
    """Ids, segments and a mask with one full row, one padded and one that is all zero."""
    rng = np.random.default_rng(seed)
    mask = np.ones((batch_size, length), dtype=np.int64)
    mask[1, length // 2 :] = 0
    mask[2] = 0
    return {
        "input_ids": rng.integers(0, config.vocab_size, (batch_size, length)),
        "attention_mask": mask,
        "token_type_ids": rng.integers(0, config.type_vocab_size, (batch_size, length)),
    }


def empty_row(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The batch with its first row once more, whose mask is all zero."""
    more = {name: np.concatenate([value, value[:1]]) for name, value in inputs.items()}
    more["attention_mask"][-1] = 0
    return more


def with_choices(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The batch with a choice axis, [B, C, S]: each row beside the row reversed."""
    return {n: np.stack([v, v[:, ::-1]], axis=1) if n in PER_CHOICE else v for n, v in inputs.items()}


def labels_for(config: AlbertConfig, head: str, inputs: dict[str, np.ndarray], seed: int = 0) -> dict[str, np.ndarray]:
    """Labels that a head can compute a loss of, some of them ignored; empty for the encoder."""
    rng = np.random.default_rng(seed)
    shape = inputs["input_ids"].shape
    limits = {"V": config.vocab_size, "K": config.num_labels, "C": CHOICES, "": max(config.num_labels, 1)}
    signature, rows, found = HEADS[head].signature, shape[0], {}
    for name in signature.names:
        if name == "labels":
            per_piece = signature.label_shapes == ("BS",)
            found[name] = rng.integers(0, limits[signature.label_index], shape if per_piece else rows)
            if per_piece:
                found[name][rng.random(shape) < 0.5] = IGNORED_LABEL
                found[name][:, 0] = 1  # in every row, the empty one too
        elif name == "sentence_order_label":
            found[name] = np.where(np.arange(rows) == 1, IGNORED_LABEL, np.arange(rows) // 2 % 2)
        elif name in LABELS:
            found[name] = rng.integers(0, shape[-1] + 2, rows)  # some behind the end, which are ignored
    return found

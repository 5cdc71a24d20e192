"""Masks as what is added to scores, and heads that are left out."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from albert_core.config import AlbertConfig
from albert_core.numerics import kept_heads, masked_score


def attention_bias(mask: Array | None, dtype: Any) -> Array | None:
    if mask is None:
        return None
    mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None] if mask.ndim == 3 else mask
    wide = jnp.promote_types(dtype, jnp.float32)  # as the scores are
    return jnp.where(mask == 0, masked_score(wide.name), 0.0).astype(wide)


def head_mask_rows(config: AlbertConfig, mask: Array | None, like: Array) -> Array | None:
    kept = kept_heads(config)
    if kept is not None:
        kept = jnp.asarray(kept, like.dtype)
        mask = kept if mask is None else kept * mask
    shape = (config.num_hidden_layers, config.num_attention_heads)
    return None if mask is None else jnp.broadcast_to(mask.astype(like.dtype), shape)

"""Masks as what is added to scores, and heads that are left out."""

from __future__ import annotations

from keras import backend, ops

from albert_core.config import AlbertConfig
from albert_core.numerics import kept_heads, masked_score
from albert_tf.layers.modules import Tensor


def attention_bias(mask: Tensor | None, dtype: str) -> Tensor | None:
    if mask is None:
        return None
    mask = mask[:, None, None, :] if len(mask.shape) == 2 else mask[:, None] if len(mask.shape) == 3 else mask
    name = backend.result_type(dtype, "float32")  # float16 could not absorb a score
    return ops.cast(ops.logical_not(ops.cast(mask, "bool")), name) * masked_score(name)


def head_mask_rows(config: AlbertConfig, mask: Tensor | None, like: Tensor) -> Tensor | None:
    kept = kept_heads(config)
    if kept is not None:
        kept = ops.convert_to_tensor(kept, dtype=like.dtype)
        mask = kept if mask is None else kept * ops.cast(mask, like.dtype)
    if mask is None:
        return None
    return ops.broadcast_to(ops.cast(mask, like.dtype), (config.num_hidden_layers, config.num_attention_heads))

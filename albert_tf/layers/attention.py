"""Self-attention, written out and fused, with absolute and relative positions."""

from __future__ import annotations

import math
from typing import Any

from keras import backend, layers, ops

from albert_core.config import AlbertConfig
from albert_tf.layers.modules import Tensor, as_rows, dense, dropped, embedding, is_plain, norm

_HAS_FUSED_ATTENTION = backend.backend() == "jax"  # on TensorFlow Keras writes out what `_eager` does


class AlbertAttention(layers.Layer):
    def __init__(self, config: AlbertConfig, dtype: Any = None, name: str = "attention") -> None:
        super().__init__(dtype=dtype, name=name, autocast=False)  # the mask stays wide
        width = config.hidden_size
        self.query = dense(config, width, width, "query", dtype)
        self.key = dense(config, width, width, "key", dtype)
        self.value = dense(config, width, width, "value", dtype)
        self.dense = dense(config, width, width, "dense", dtype)
        self.LayerNorm = norm(config, width, "LayerNorm", dtype)
        self.attention_dropout = layers.Dropout(config.attention_probs_dropout_prob, dtype=dtype)
        self.output_dropout = layers.Dropout(config.hidden_dropout_prob, dtype=dtype)
        self.position_embedding_type = config.position_embedding_type
        if self.position_embedding_type != "absolute":
            self.reach = config.max_position_embeddings - 1
            self.distance_embedding = embedding(
                config, 2 * self.reach + 1, config.head_size, "distance_embedding", dtype
            )
        self.heads, self.head_size = config.num_attention_heads, config.head_size
        self.scale = 1.0 / math.sqrt(config.head_size)
        self.built = True

    def packed(self) -> tuple[Tensor, Tensor] | None:
        """Kernel and bias of query, key and value as one product, or None where one of them is no plain Dense."""
        parts = (self.query, self.key, self.value)
        if not all(is_plain(part) for part in parts):
            return None
        kernel, bias = ops.concatenate([p.kernel for p in parts], axis=1), ops.concatenate([p.bias for p in parts])
        return ops.cast(kernel, self.compute_dtype), ops.cast(bias, self.compute_dtype)

    def call(
        self,
        x: Tensor,
        bias: Tensor | None,
        head_mask: Tensor | None,
        pack: tuple[Tensor, Tensor] | None,
        fused: bool,
        queries: Tensor | None = None,
        seeds: list[Tensor] | None = None,
        training: bool | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        own = x if queries is None else gathered(x, queries)  # [B, P, H]
        q, k, v = self._project(own, x, pack)  # [B, N, P, D], [B, N, S, D] twice
        if self.position_embedding_type != "absolute":
            relative = self._relative_scores(q, k)  # [B, N, S, S]
            bias = relative if bias is None else ops.cast(relative, bias.dtype) + bias
        drops = training and self.attention_dropout.rate > 0  # Keras' fused attention knows no dropout,
        rounds = bias is not None and backend.standardize_dtype(q.dtype) in ("float16", "bfloat16")  # and rounds a mask
        attend = self._fused if fused and _HAS_FUSED_ATTENTION and not drops and not rounds else self._eager
        context, probabilities = attend(q, k, v, bias, head_mask, seeds)
        rows = as_rows(own)  # [B * P, H]
        context = ops.reshape(ops.transpose(context, (0, 2, 1, 3)), ops.shape(rows))
        rows = self.LayerNorm(rows + dropped(self.output_dropout, self.dense(context), seeds, 1))
        return ops.reshape(rows, ops.shape(own)), probabilities

    def _project(self, own: Tensor, x: Tensor, pack: tuple[Tensor, Tensor] | None) -> tuple[Tensor, ...]:
        if pack is None:
            parts = ((self.query, own), (self.key, x), (self.value, x))
            return tuple(self._by_head(layer(rows), rows, 1)[0] for layer, rows in parts)
        if own is x:
            return self._by_head(_product(x, *pack), x, 3)
        (wq, wkv), (bq, bkv) = (ops.split(part, [x.shape[-1]], axis=-1) for part in pack)
        return self._by_head(_product(own, wq, bq), own, 1) + self._by_head(_product(x, wkv, bkv), x, 2)

    def _by_head(self, packed: Tensor, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Products of x side by side as [B, N, S, D] each."""
        batch, length, _ = ops.shape(x)
        packed = ops.reshape(packed, (batch, length, parts, self.heads, self.head_size))
        return tuple(ops.unstack(ops.transpose(packed, (2, 0, 3, 1, 4)), parts))

    def _relative_scores(self, q: Tensor, k: Tensor) -> Tensor:
        place = ops.arange(ops.shape(q)[2])
        table = self.distance_embedding(place[:, None] - place[None, :] + self.reach)  # [S, S, D]
        scores = ops.einsum("bnqd,qkd->bnqk", q, table)
        if self.position_embedding_type == "relative_key_query":
            scores = scores + ops.einsum("bnkd,qkd->bnqk", k, table)
        return scores

    def _eager(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, head_mask: Tensor | None, seeds: Any
    ) -> tuple[Tensor, Tensor]:
        wide = backend.result_type(q.dtype, "float32")  # TensorFlow promotes nothing by itself
        scores = ops.cast(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) * self.scale, wide)  # [B, N, S, S]
        scores = scores if bias is None else scores + ops.cast(bias, wide)
        probabilities = dropped(self.attention_dropout, ops.cast(_softmax(scores), v.dtype), seeds, 0)
        if head_mask is not None:
            probabilities = probabilities * head_mask[:, None, None]
        return ops.matmul(probabilities, v), probabilities

    def _fused(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, head_mask: Tensor | None, seeds: Any
    ) -> tuple[Tensor, None]:
        wide = backend.result_type(q.dtype, "float32")
        scale = ops.convert_to_tensor(self.scale, wide)  # as a Python float it would go through 32 bits
        q, k, v = (ops.transpose(part, (0, 2, 1, 3)) for part in (q, k, v))  # [B, S, N, D]
        context = ops.transpose(ops.dot_product_attention(q, k, v, bias=bias, scale=scale), (0, 2, 1, 3))
        return context if head_mask is None else context * head_mask[:, None, None], None


def gathered(x: Tensor, positions: Tensor) -> Tensor:
    """The rows of x at some positions of each sequence, [B, P, H]."""
    batch, sequence, width = ops.shape(x)
    starts = ops.cast(ops.arange(batch) * sequence, positions.dtype)
    return ops.take(ops.reshape(x, (-1, width)), positions + starts[:, None], axis=0)


def _product(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    return ops.add(ops.matmul(as_rows(x), kernel), bias)


def _softmax(scores: Tensor) -> Tensor:
    """Softmax over the last axis, without Keras' warning about an axis of one."""
    return ops.ones_like(scores) if scores.shape[-1] == 1 else ops.softmax(scores)

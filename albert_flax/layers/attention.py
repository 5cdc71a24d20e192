"""Self-attention, written out, with absolute and relative positions."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from albert_core.config import AlbertConfig
from albert_flax.layers.modules import as_rows, embedding, is_plain, key_at, layer_norm, linear


class AlbertAttention(nnx.Module):
    def __init__(self, config: AlbertConfig, **how: Any) -> None:
        width = config.hidden_size
        self.query = linear(width, width, **how)
        self.key = linear(width, width, **how)
        self.value = linear(width, width, **how)
        self.dense = linear(width, width, **how)
        self.LayerNorm = layer_norm(config, width, **how)
        self.attention_dropout = nnx.Dropout(config.attention_probs_dropout_prob)
        self.output_dropout = nnx.Dropout(config.hidden_dropout_prob)
        self.position_embedding_type = config.position_embedding_type
        if self.position_embedding_type != "absolute":
            self.distance_embedding = embedding(2 * config.max_position_embeddings - 1, config.head_size, **how)
        self.heads, self.head_size = config.num_attention_heads, config.head_size
        self.scale = 1.0 / math.sqrt(config.head_size)

    def packed(self) -> tuple[Array, Array] | None:
        """Kernel and bias of query, key and value as one product, or None where one of them is no plain Linear.

        In training one product saves some 3 % of a step, and in half precision it rounds its input's gradient once, not
        three times; elsewhere it gives nothing for its copy.
        """
        parts = (self.query, self.key, self.value)
        if not all(is_plain(part) for part in parts):
            return None
        if self.attention_dropout.deterministic and jnp.finfo(self.query.dtype).bits >= 32:
            return None
        kernel = jnp.concatenate([p.kernel[...] for p in parts], axis=1)  # [H, 3 H]
        return kernel.astype(self.query.dtype), jnp.concatenate([p.bias[...] for p in parts]).astype(self.query.dtype)

    def __call__(
        self,
        x: Array,
        bias: Array | None,
        head_mask: Array | None,
        pack: Any,
        keys: Array | None,
        queries: Array | None = None,
    ) -> tuple[Array, Array | None]:
        own = x if queries is None else gathered(x, queries)  # [B, P, H]
        q, k, v = self._project(own, x, pack)  # [B, P, N, D], [B, S, N, D] twice
        if self.position_embedding_type != "absolute":
            relative = self._relative_scores(q, k)  # [B, N, S, S]
            bias = relative if bias is None else relative + bias
        context, probabilities = self._eager(q, k, v, bias, head_mask, keys)
        rows = as_rows(own)  # [B * P, H]
        context = self.dense(context.reshape(rows.shape))
        rows = self.LayerNorm(rows + self.output_dropout(context, rngs=key_at(keys, 1)))
        return rows.reshape(own.shape), probabilities

    def _project(self, own: Array, x: Array, pack: tuple[Array, Array] | None) -> tuple[Array, ...]:
        if pack is None:
            parts = (self.query(own), self.key(x), self.value(x))
        elif own is x:
            parts = jnp.split(as_rows(x) @ pack[0] + pack[1], 3, axis=-1)
        else:
            (wq, wkv), (bq, bkv) = (jnp.split(part, [x.shape[-1]], axis=-1) for part in pack)
            parts = (as_rows(own) @ wq + bq, *jnp.split(as_rows(x) @ wkv + bkv, 2, axis=-1))
        return tuple(
            part.reshape(*rows.shape[:2], self.heads, self.head_size)
            for part, rows in zip(parts, (own, x, x), strict=True)
        )

    def _relative_scores(self, q: Array, k: Array) -> Array:
        place = jnp.arange(q.shape[1])
        distance = place[:, None] - place[None, :] + self.distance_embedding.num_embeddings // 2
        table = self.distance_embedding(distance)  # [S, S, D]
        scores = _product("bqnd,qkd->bnqk", q, table)
        if self.position_embedding_type == "relative_key_query":
            scores = scores + _product("bknd,qkd->bnqk", k, table)
        return scores

    def _eager(
        self, q: Array, k: Array, v: Array, bias: Array | None, head_mask: Array | None, keys: Array | None
    ) -> tuple[Array, Array]:
        """One form, be it "sdpa" or "eager": where nobody asks for the probabilities, XLA fuses it.

        On a CPU no array of scores is written then, from some eight heads times sequences on; in
        `jax.nn.dot_product_attention` there are two.
        """
        scores = _product("bqnd,bknd->bnqk", q, k) * self.scale  # [B, N, S, S]
        scores = scores if bias is None else scores + bias
        with jax.softmax_custom_jvp(True):  # its gradient reads what came out, not two sums again
            probabilities = jax.nn.softmax(scores).astype(v.dtype)
        probabilities = self.attention_dropout(probabilities, rngs=key_at(keys, 0))
        if head_mask is not None:
            probabilities = probabilities * head_mask[:, None, None]
        context = jnp.einsum("bnqk,bknd->bnqd", probabilities, v)  # in this order one sequence is fused as well
        return context.swapaxes(1, 2), probabilities


def gathered(x: Array, positions: Array) -> Array:
    """The rows of x at some positions of each sequence, [B, P, H]."""
    return jnp.take_along_axis(x, positions[:, :, None], axis=1)


def _product(subscripts: str, a: Array, b: Array) -> Array:
    """Attention scores, in float32 or wider."""
    return jnp.einsum(subscripts, a, b, preferred_element_type=jnp.promote_types(a.dtype, jnp.float32))

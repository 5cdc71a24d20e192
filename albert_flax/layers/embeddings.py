"""Words, segments and positions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from albert_core.config import AlbertConfig
from albert_core.signature import Inputs
from albert_flax.layers.modules import embedding, is_plain, layer_norm


class AlbertEmbeddings(nnx.Module):
    def __init__(self, config: AlbertConfig, **how: Any) -> None:
        width = config.embedding_size
        self.word_embeddings = embedding(config.vocab_size, width, **how)
        self.position_embeddings = embedding(config.max_position_embeddings, width, **how)
        self.token_type_embeddings = embedding(config.type_vocab_size, width, **how)
        self.LayerNorm = layer_norm(config, width, **how)
        self.dropout = nnx.Dropout(config.hidden_dropout_prob, rngs=how["rngs"])
        self.absolute = config.position_embedding_type == "absolute"
        self.padding_idx = config.pad_token_id

    def __call__(self, inputs: Inputs) -> Array:
        x = inputs.inputs_embeds
        x = self._words(inputs.input_ids) if x is None else x.astype(self.word_embeddings.dtype)  # [B, S, E]
        x = x + self._rows(self.token_type_embeddings, inputs.token_type_ids, 1)
        if self.absolute:
            x = x + self._rows(self.position_embeddings, inputs.position_ids, x.shape[1])
        return self.dropout(self.LayerNorm(x))  # [B, S, E]

    def _words(self, ids: Array) -> Array:
        """The looked-up words; the padding row gets no gradient from here."""
        x = self.word_embeddings(ids)
        if self.padding_idx is None:
            return x
        return jnp.where((ids == self.padding_idx)[..., None], jax.lax.stop_gradient(x), x)

    def _rows(self, table: nnx.Embed, ids: Array | None, first: int) -> Array:
        """The rows of some ids; the first ones of the table where there are none."""
        if ids is None and is_plain(table, nnx.Embed):
            return table.embedding[:first].astype(table.dtype)
        return table(jnp.arange(first)[None] if ids is None else ids)

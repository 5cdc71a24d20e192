"""The two heads of pretraining: masked LM and sentence order."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from albert_core.config import AlbertConfig
from albert_flax.layers.modules import activation_of, layer_norm, linear


class AlbertMLMHead(nnx.Module):
    def __init__(self, config: AlbertConfig, **how: Any) -> None:
        self.bias = nnx.Param(jnp.zeros(config.vocab_size, how["param_dtype"]))
        self.LayerNorm = layer_norm(config, config.embedding_size, **how)
        self.dense = linear(config.hidden_size, config.embedding_size, **how)
        self.activation = activation_of(config)

    def __call__(self, x: Array, words: Array) -> Array:
        x = self.LayerNorm(self.activation(self.dense(x)))  # [B, P, E]
        return x @ words.astype(x.dtype).T + self.bias.astype(x.dtype)  # [B, P, V]


class AlbertSOPHead(nnx.Module):
    def __init__(self, config: AlbertConfig, **how: Any) -> None:
        self.dropout = nnx.Dropout(config.classifier_dropout_prob, rngs=how["rngs"])
        self.classifier = linear(config.hidden_size, 2, **how)

    def __call__(self, pooled: Array) -> Array:
        return self.classifier(self.dropout(pooled))  # [B, 2]

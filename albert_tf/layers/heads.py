"""The two heads of pretraining: masked LM and sentence order."""

from __future__ import annotations

from typing import Any

from keras import layers, ops

from albert_core.config import AlbertConfig
from albert_tf.layers.modules import Tensor, activation_of, as_rows, dense, norm


class AlbertMLMHead(layers.Layer):
    def __init__(self, config: AlbertConfig, dtype: Any = None, name: str = "predictions") -> None:
        super().__init__(dtype=dtype, name=name)
        self.bias = self.add_weight(shape=(config.vocab_size,), initializer="zeros", name="bias")
        self.LayerNorm = norm(config, config.embedding_size, "LayerNorm", dtype)
        self.dense = dense(config, config.hidden_size, config.embedding_size, "dense", dtype)
        self.activation = activation_of(config)
        self.built = True

    def call(self, x: Tensor, words: Tensor) -> Tensor:
        lead = ops.shape(x)[:2]
        x = self.LayerNorm(self.activation(self.dense(as_rows(x))))  # [B * P, E]
        scores = ops.add(ops.matmul(x, ops.transpose(words)), self.bias)
        return ops.reshape(scores, (*lead, scores.shape[-1]))  # [B, P, V]


class AlbertSOPHead(layers.Layer):
    def __init__(self, config: AlbertConfig, dtype: Any = None, name: str = "sop_classifier") -> None:
        super().__init__(dtype=dtype, name=name)
        self.dropout = layers.Dropout(config.classifier_dropout_prob, dtype=dtype)
        self.classifier = dense(config, config.hidden_size, 2, "classifier", dtype)
        self.built = True

    def call(self, pooled: Tensor) -> Tensor:
        return self.classifier(self.dropout(pooled))  # [B, 2]

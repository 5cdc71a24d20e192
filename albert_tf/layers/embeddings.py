"""Words, segments and positions."""

from __future__ import annotations

from typing import Any

from keras import layers, ops

from albert_core.config import AlbertConfig
from albert_tf.layers.modules import Tensor, embedding, norm


class AlbertEmbeddings(layers.Layer):
    def __init__(self, config: AlbertConfig, dtype: Any = None, name: str = "embeddings") -> None:
        super().__init__(dtype=dtype, name=name)
        width = config.embedding_size
        self.pad = config.pad_token_id
        self.word_embeddings = embedding(config, config.vocab_size, width, "word_embeddings", dtype, self.pad)
        self.position_embeddings = embedding(
            config, config.max_position_embeddings, width, "position_embeddings", dtype
        )
        self.token_type_embeddings = embedding(config, config.type_vocab_size, width, "token_type_embeddings", dtype)
        self.LayerNorm = norm(config, width, "LayerNorm", dtype)
        self.dropout = layers.Dropout(config.hidden_dropout_prob, dtype=dtype)
        self.absolute = config.position_embedding_type == "absolute"
        self.built = True

    def call(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        x = self._words(input_ids) if inputs_embeds is None else inputs_embeds  # [B, S, E]
        segments = ops.zeros((1, 1), "int32") if token_type_ids is None else token_type_ids
        x = x + self.token_type_embeddings(segments)
        if self.absolute:
            positions = ops.arange(ops.shape(x)[1])[None] if position_ids is None else position_ids
            x = x + self.position_embeddings(positions)
        return self.dropout(self.LayerNorm(x))  # [B, S, E]

    def _words(self, input_ids: Tensor) -> Tensor:
        """Look the pieces up; none of the gradient goes to the row of the padding."""
        x = self.word_embeddings(input_ids)
        return x if self.pad is None else ops.where((input_ids == self.pad)[..., None], ops.stop_gradient(x), x)

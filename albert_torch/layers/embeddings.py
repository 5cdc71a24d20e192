"""Words, segments and positions."""

from __future__ import annotations

from torch import Tensor, nn

from albert_core.config import AlbertConfig
from albert_core.signature import Inputs


class AlbertEmbeddings(nn.Module):
    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        width = config.embedding_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.absolute = config.position_embedding_type == "absolute"

    def forward(self, inputs: Inputs) -> Tensor:
        x = inputs.inputs_embeds
        x = self.word_embeddings(inputs.input_ids) if x is None else x  # [B, S, E]
        segments = inputs.token_type_ids
        x = x + (self.token_type_embeddings.weight[0] if segments is None else self.token_type_embeddings(segments))
        if self.absolute:
            positions = inputs.position_ids
            table = self.position_embeddings
            x = x + (table.weight[: x.shape[1]] if positions is None else table(positions))
        return self.dropout(self.LayerNorm(x))  # [B, S, E]

"""Words, segments and positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from albert_core.config import AlbertConfig
from albert_core.signature import Inputs
from albert_torch.layers.modules import is_plain


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
        x = x + self._rows(self.token_type_embeddings, inputs.token_type_ids, 1, x.device)
        if self.absolute:
            x = x + self._rows(self.position_embeddings, inputs.position_ids, x.shape[1], x.device)
        return self.dropout(self.LayerNorm(x))  # [B, S, E]

    def _rows(self, table: nn.Embedding, ids: Tensor | None, first: int, device: torch.device) -> Tensor:
        """The rows of some ids; the first ones of the table where there are none."""
        if ids is None and is_plain(table, nn.Embedding):
            return table.weight[:first]
        return table(torch.arange(first, device=device)[None] if ids is None else ids)

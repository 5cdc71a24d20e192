"""The two heads of pretraining: masked LM and sentence order."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from albert_core.config import AlbertConfig
from albert_torch.layers.modules import activation_of, through


class AlbertMLMHead(nn.Module):
    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.LayerNorm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)
        self.decoder = nn.Linear(config.embedding_size, config.vocab_size)
        self.decoder.bias = self.bias
        self.activation = activation_of(config)

    def forward(self, x: Tensor) -> Tensor:
        x = self.LayerNorm(self.activation(self.dense(x)))  # [B, P, E]
        return through(self.decoder, x)  # [B, P, V]


class AlbertSOPHead(nn.Module):
    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 2)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.classifier(self.dropout(pooled))  # [B, 2]

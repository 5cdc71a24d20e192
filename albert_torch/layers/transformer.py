"""A layer, the group of layers that is shared, and the encoder that applies groups L times."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from albert_core.config import AlbertConfig
from albert_torch.layers.attention import AlbertAttention
from albert_torch.layers.modules import activation_of, through


class AlbertLayer(nn.Module):
    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.full_layer_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = AlbertAttention(config)
        self.ffn = nn.Linear(config.hidden_size, config.intermediate_size)
        self.ffn_output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.activation = activation_of(config)

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None,
        head_mask: Tensor | None,
        pack: Any,
        fused: bool,
        queries: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        x, probabilities = self.attention(x, bias, head_mask, pack, fused, queries)
        inner = self.activation(through(self.ffn, x))  # [B, P, F]
        x = self.full_layer_layer_norm(x + self.dropout(through(self.ffn_output, inner)))
        return x, probabilities


class AlbertLayerGroup(nn.Module):
    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.albert_layers = nn.ModuleList(AlbertLayer(config) for _ in range(config.inner_group_num))

    def packed(self) -> list[tuple[Tensor, Tensor] | None]:
        return [layer.attention.packed() for layer in self.albert_layers]

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None,
        head_mask: Tensor | None,
        packs: list[Any],
        fused: bool,
        queries: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor | None]]:
        attentions, last = [], len(packs) - 1
        for inner, (layer, pack) in enumerate(zip(self.albert_layers, packs, strict=True)):
            x, probabilities = layer(x, bias, head_mask, pack, fused, queries if inner == last else None)
            attentions.append(probabilities)
        return x, attentions


class AlbertTransformer(nn.Module):
    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.embedding_hidden_mapping_in = nn.Linear(config.embedding_size, config.hidden_size)
        self.albert_layer_groups = nn.ModuleList(AlbertLayerGroup(config) for _ in range(config.num_hidden_groups))
        self.group_of = [config.group_of(layer) for layer in range(config.num_hidden_layers)]
        self.checkpointing: str | None = None

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None,
        head_mask: Tensor | None,
        fused: bool,
        queries: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor], list[Tensor | None]]:
        """All hidden states, [B, S, H]; of the last layer only those at `queries`, [B, P, H], where there are some."""
        x = self.embedding_hidden_mapping_in(x)  # [B, S, H]
        packs = [group.packed() for group in self.albert_layer_groups]  # once per forward, not per layer
        hidden_states, attentions, last = [x], [], len(self.group_of) - 1
        for layer, g in enumerate(self.group_of):
            row = None if head_mask is None else head_mask[layer]
            args = (x, bias, row, packs[g], fused, queries if layer == last else None)
            x, probabilities = self._run_group(self.albert_layer_groups[g], *args)
            hidden_states.append(x)
            attentions.extend(probabilities)
        return x, hidden_states, attentions

    def _run_group(self, group: AlbertLayerGroup, *args: Any) -> tuple[Tensor, list[Tensor | None]]:
        """Apply a group; with checkpointing backward will do it again rather than keep what is inside."""
        if self.checkpointing is None or not torch.is_grad_enabled():
            return group(*args)
        return checkpoint(group, *args, use_reentrant=False)

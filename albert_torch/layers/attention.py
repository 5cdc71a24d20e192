"""Self-attention, written out and fused, with absolute and relative positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from albert_core.config import AlbertConfig
from albert_torch.layers.modules import is_plain, through
from albert_torch.products import linear


class AlbertAttention(nn.Module):
    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.attention_dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.output_dropout = nn.Dropout(config.hidden_dropout_prob)
        self.position_embedding_type = config.position_embedding_type
        if self.position_embedding_type != "absolute":
            self.distance_embedding = nn.Embedding(2 * config.max_position_embeddings - 1, config.head_size)
        self.heads, self.head_size = config.num_attention_heads, config.head_size
        self.scale = 1.0 / math.sqrt(config.head_size)

    def packed(self) -> tuple[Tensor, Tensor] | None:
        """Weight and bias of query, key and value as one product, or None where one of them is no plain Linear."""
        parts = (self.query, self.key, self.value)
        if not all(is_plain(part) for part in parts):
            return None
        weight, bias = torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts])
        kind = weight.device.type
        if kind != "meta" and torch.is_autocast_enabled(kind):  # which casts parameters once, but this at every layer
            weight = weight.to(torch.get_autocast_dtype(kind))
        return weight, bias

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None,
        head_mask: Tensor | None,
        pack: tuple[Tensor, Tensor] | None,
        fused: bool,
        queries: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        own = x if queries is None else gathered(x, queries)  # [B, P, H]
        q, k, v = self._project(own, x, pack)  # [B, N, P, D], [B, N, S, D] twice
        if self.position_embedding_type != "absolute":
            relative = self._relative_scores(q, k)  # [B, N, S, S]
            bias = relative if bias is None else relative + bias
        attend = self._fused if fused else self._eager
        context, probabilities = attend(q, k, v, bias, head_mask)
        context = context.transpose(1, 2).flatten(2)  # [B, P, H]
        return self.LayerNorm(own + self.output_dropout(through(self.dense, context))), probabilities

    def _project(self, own: Tensor, x: Tensor, pack: tuple[Tensor, Tensor] | None) -> tuple[Tensor, ...]:
        if pack is None:
            parts = (self.query(own), self.key(x), self.value(x))
        elif own is x:
            parts = linear(x, *pack).chunk(3, dim=-1)
        else:
            width = x.shape[-1]
            (wq, wkv), (bq, bkv) = (part.split((width, 2 * width)) for part in pack)
            parts = (linear(own, wq, bq), *linear(x, wkv, bkv).chunk(2, dim=-1))
        return tuple(part.unflatten(-1, (self.heads, self.head_size)).transpose(1, 2) for part in parts)

    def _relative_scores(self, q: Tensor, k: Tensor) -> Tensor:
        place = torch.arange(q.shape[2], device=q.device)
        distance = place[:, None] - place[None, :] + self.distance_embedding.num_embeddings // 2
        table = self.distance_embedding(distance)  # [S, S, D]
        scores = torch.einsum("bnqd,qkd->bnqk", q, table)
        if self.position_embedding_type == "relative_key_query":
            scores = scores + torch.einsum("bnkd,qkd->bnqk", k, table)
        return scores

    def _eager(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, head_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        scores = q @ k.transpose(-1, -2) * self.scale  # [B, N, S, S]
        scores = scores if bias is None else scores + bias
        wide = torch.promote_types(scores.dtype, torch.float32)
        probabilities = self.attention_dropout(scores.softmax(-1, dtype=wide).to(v.dtype))
        if head_mask is not None:
            probabilities = probabilities * head_mask[:, None, None]
        return probabilities @ v, probabilities

    def _fused(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, head_mask: Tensor | None
    ) -> tuple[Tensor, None]:
        dropout = self.attention_dropout.p if self.training else 0.0
        if bias is not None and q.device.type != "cpu":  # other kernels take a mask of q's dtype only
            bias = bias.clamp(min=torch.finfo(q.dtype).min).to(q.dtype)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=self.scale)
        return context if head_mask is None else context * head_mask[:, None, None], None


def gathered(x: Tensor, positions: Tensor) -> Tensor:
    """The rows of x at some positions of each sequence, [B, P, H]."""
    return x.gather(1, positions.long()[:, :, None].expand(-1, -1, x.shape[-1]))

"""The building blocks of ALBERT in torch, in reading order; what each computes stands in `albert_core.reference`."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook
from torch.utils.checkpoint import checkpoint

from albert_core.config import AlbertConfig
from albert_core.input_checks import dtype_name
from albert_core.numerics import activation, kept_heads, masked_score
from albert_core.signature import Inputs
from albert_torch.products import linear

_XP = SimpleNamespace(
    abs=torch.abs,
    erf=torch.erf,
    exp=torch.exp,
    log1p=torch.log1p,
    maximum=torch.maximum,
    minimum=torch.minimum,
    tanh=torch.tanh,
    where=torch.where,
)
_KERNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}


def activation_of(config: AlbertConfig) -> Callable[[Tensor], Tensor]:
    """The activation a config names; PyTorch's kernel where it has one that agrees in float64."""
    act = config.hidden_act
    return (_KERNELS.get(act) if isinstance(act, str) else None) or partial(_formula, act)


def _formula(act: str | Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Of this module, so that a model can be pickled."""
    return activation(_XP, act)(x)


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
        if not all(_is_plain(part) for part in parts):
            return None
        weight, bias = torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts])
        if torch.is_autocast_enabled(weight.device.type):  # which casts parameters once, but this at every layer
            weight = weight.to(torch.get_autocast_dtype(weight.device.type))
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
        return self.LayerNorm(own + self.output_dropout(_through(self.dense, context))), probabilities

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


def _is_plain(module: nn.Module) -> bool:
    """Whether a product with the module's weight is all that calling it does.

    A subclass is an adapter, a parametrisation or sharding; a weight made of other tensors is quantised; a forward of
    the module's own is a wrapper.
    """
    if type(module) is not nn.Linear or hasattr(type(module.weight), "__tensor_flatten__") or "forward" in vars(module):
        return False
    own = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return not own and not _has_any_global_hook()


def _through(module: nn.Module, x: Tensor) -> Tensor:
    """The module's own call, or the faster product where a product is all that it is."""
    return linear(x, module.weight, module.bias) if _is_plain(module) else module(x)


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
        inner = self.activation(_through(self.ffn, x))  # [B, P, F]
        x = self.full_layer_layer_norm(x + self.dropout(_through(self.ffn_output, inner)))
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
        return _through(self.decoder, x)  # [B, P, V]


class AlbertSOPHead(nn.Module):
    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 2)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.classifier(self.dropout(pooled))  # [B, 2]


def gathered(x: Tensor, positions: Tensor) -> Tensor:
    """The rows of x at some positions of each sequence, [B, P, H]."""
    return x.gather(1, positions.long()[:, :, None].expand(-1, -1, x.shape[-1]))


def attention_bias(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    if mask is None:
        return None
    mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None] if mask.ndim == 3 else mask
    wide = torch.promote_types(dtype, torch.float32)  # float16 could not absorb a score
    bias = torch.zeros(mask.shape, dtype=wide, device=mask.device)
    return bias.masked_fill(mask == 0, masked_score(dtype_name(bias)))


def loses_gradients(mask: Tensor | None) -> bool:
    """Whether the backward pass of PyTorch's fused kernels may be wrong under this mask.

    It recovers probabilities as exp(score - log-sum-exp), and in a row whose mask is all zero the masked score absorbs
    the logarithm: every gradient of that row comes out S times too large. Where rows cannot be looked at without a
    device sync or a graph break, any mask counts.
    """
    if mask is None or not torch.is_grad_enabled():
        return False
    rows = known(mask)
    return rows is None or bool((rows == 0).all(-1).any())


def loses_time(x: Tensor) -> bool:
    """Whether PyTorch's fused kernels are the slower ones: backward in bfloat16 on a CPU, by 1.5 to 3.6 times."""
    if x.device.type != "cpu" or not torch.is_grad_enabled():
        return False
    return (torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype) is torch.bfloat16


def known(array: Tensor) -> np.ndarray | None:
    """An array's values, or None where they are not at hand: on a device, or in a program being traced."""
    if array.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return None
    with suppress(RuntimeError, TypeError):  # inside torch.func.grad or vmap there are none; bfloat16 is not NumPy's
        return array.detach().numpy()
    return None


def head_mask_rows(config: AlbertConfig, mask: Tensor | None, like: Tensor) -> Tensor | None:
    kept = kept_heads(config)
    if kept is not None:
        kept = torch.tensor(kept, dtype=like.dtype, device=like.device)
        mask = kept if mask is None else kept * mask
    return None if mask is None else mask.to(like.dtype).expand(config.num_hidden_layers, -1)

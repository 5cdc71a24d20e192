"""The building blocks of ALBERT in JAX, in reading order; what each computes stands in `albert_core.reference`.

`how` stands for what every layer of nnx is built with: rngs, dtype (computed in) and param_dtype (stored in).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from albert_core.config import AlbertConfig
from albert_core.numerics import activation, kept_heads, masked_score
from albert_core.signature import Inputs

_XP = SimpleNamespace(
    abs=jnp.abs,
    erf=jax.scipy.special.erf,
    exp=jnp.exp,
    log1p=jnp.log1p,
    maximum=jnp.maximum,
    minimum=jnp.minimum,
    tanh=jnp.tanh,
    where=jnp.where,
)
_KERNELS: dict[str, Callable[[Array], Array]] = {
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_new": partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


def activation_of(config: AlbertConfig) -> Callable[[Array], Array]:
    """The activation a config names; JAX's kernel where it has one that agrees in float64."""
    act = config.hidden_act
    return (_KERNELS.get(act) if isinstance(act, str) else None) or activation(_XP, act)


# Weights start at zero here; `init_weights` of the model draws them.
_zeros = nnx.initializers.zeros_init()
# What backward keeps of a layer in training: products with weights, not attention's. On a CPU the rest is computed
# again sooner than it is written and read (base, 8 x 128: about a tenth of a step); a GPU or TPU has not been measured.
KEPT = "dots_with_no_batch_dims_saveable"
linear = partial(nnx.Linear, kernel_init=_zeros, bias_init=_zeros)
embedding = partial(nnx.Embed, embedding_init=_zeros)


def layer_norm(config: AlbertConfig, width: int, **how: Any) -> nnx.LayerNorm:
    """A layer norm whose statistics are taken in two passes, in float32 or wider."""
    return nnx.LayerNorm(width, epsilon=config.layer_norm_eps, use_fast_variance=False, **how)


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
        x = x + self._rows(self.token_type_embeddings, inputs.token_type_ids, 0)
        if self.absolute:
            x = x + self._rows(self.position_embeddings, inputs.position_ids, slice(x.shape[1]))
        return self.dropout(self.LayerNorm(x))  # [B, S, E]

    def _words(self, ids: Array) -> Array:
        """The looked-up words; the padding row gets no gradient from here."""
        x = self.word_embeddings(ids)
        if self.padding_idx is None:
            return x
        return jnp.where((ids == self.padding_idx)[..., None], jax.lax.stop_gradient(x), x)

    def _rows(self, table: nnx.Embed, ids: Array | None, default: int | slice) -> Array:
        return table.embedding[default].astype(table.dtype) if ids is None else table(ids)


class AlbertAttention(nnx.Module):
    def __init__(self, config: AlbertConfig, **how: Any) -> None:
        width = config.hidden_size
        self.query = linear(width, width, **how)
        self.key = linear(width, width, **how)
        self.value = linear(width, width, **how)
        self.dense = linear(width, width, **how)
        self.LayerNorm = layer_norm(config, width, **how)
        self.attention_dropout = nnx.Dropout(config.attention_probs_dropout_prob)
        self.output_dropout = nnx.Dropout(config.hidden_dropout_prob)
        self.position_embedding_type = config.position_embedding_type
        if self.position_embedding_type != "absolute":
            self.distance_embedding = embedding(2 * config.max_position_embeddings - 1, config.head_size, **how)
        self.heads, self.head_size = config.num_attention_heads, config.head_size
        self.scale = 1.0 / math.sqrt(config.head_size)

    def packed(self) -> tuple[Array, Array] | None:
        """Kernel and bias of query, key and value as one product, or None where one of them is no plain Linear.

        In training one product saves some 3 % of a step, and in half precision it rounds its input's gradient once, not
        three times; elsewhere it gives nothing for its copy.
        """
        parts = (self.query, self.key, self.value)
        if not all(_is_plain(part) for part in parts):
            return None
        if self.attention_dropout.deterministic and jnp.finfo(self.query.dtype).bits >= 32:
            return None
        kernel = jnp.concatenate([p.kernel[...] for p in parts], axis=1)  # [H, 3 H]
        return kernel.astype(self.query.dtype), jnp.concatenate([p.bias[...] for p in parts]).astype(self.query.dtype)

    def __call__(
        self,
        x: Array,
        bias: Array | None,
        head_mask: Array | None,
        pack: Any,
        fused: bool,
        keys: Array | None,
        queries: Array | None = None,
    ) -> tuple[Array, Array | None]:
        own = x if queries is None else gathered(x, queries)  # [B, P, H]
        q, k, v = self._project(own, x, pack)  # [B, P, N, D], [B, S, N, D] twice
        if self.position_embedding_type != "absolute":
            relative = self._relative_scores(q, k)  # [B, N, S, S]
            bias = relative if bias is None else relative + bias
        attend = self._fused if fused and self._fusible(x) else self._eager
        context, probabilities = attend(q, k, v, bias, head_mask, keys)
        rows = _rows(own)  # [B * P, H]
        context = self.dense(context.reshape(rows.shape))
        rows = self.LayerNorm(rows + self.output_dropout(context, rngs=_key(keys, 1)))
        return rows.reshape(own.shape), probabilities

    def _project(self, own: Array, x: Array, pack: tuple[Array, Array] | None) -> tuple[Array, ...]:
        if pack is None:
            parts = (self.query(own), self.key(x), self.value(x))
        elif own is x:
            parts = jnp.split(_rows(x) @ pack[0] + pack[1], 3, axis=-1)
        else:
            (wq, wkv), (bq, bkv) = (jnp.split(part, [x.shape[-1]], axis=-1) for part in pack)
            parts = (_rows(own) @ wq + bq, *jnp.split(_rows(x) @ wkv + bkv, 2, axis=-1))
        return tuple(
            part.reshape(*rows.shape[:2], self.heads, self.head_size)
            for part, rows in zip(parts, (own, x, x), strict=True)
        )

    def _relative_scores(self, q: Array, k: Array) -> Array:
        place = jnp.arange(q.shape[1])
        distance = place[:, None] - place[None, :] + self.distance_embedding.num_embeddings // 2
        table = self.distance_embedding(distance)  # [S, S, D]
        scores = _product("bqnd,qkd->bnqk", q, table)
        if self.position_embedding_type == "relative_key_query":
            scores = scores + _product("bknd,qkd->bnqk", k, table)
        return scores

    def _eager(
        self, q: Array, k: Array, v: Array, bias: Array | None, head_mask: Array | None, keys: Array | None
    ) -> tuple[Array, Array]:
        scores = _product("bqnd,bknd->bnqk", q, k) * self.scale  # [B, N, S, S]
        scores = scores if bias is None else scores + bias
        with jax.softmax_custom_jvp(True):  # its gradient reads what came out, not two sums again
            probabilities = jax.nn.softmax(scores).astype(v.dtype)
        probabilities = self.attention_dropout(probabilities, rngs=_key(keys, 0))
        if head_mask is not None:
            probabilities = probabilities * head_mask[:, None, None]
        return jnp.einsum("bnqk,bknd->bqnd", probabilities, v), probabilities

    def _fused(
        self, q: Array, k: Array, v: Array, bias: Array | None, head_mask: Array | None, keys: Array | None
    ) -> tuple[Array, None]:
        with jax.softmax_custom_jvp(True):
            context = jax.nn.dot_product_attention(q, k, v, bias, scale=self.scale)
        return context if head_mask is None else context * head_mask[:, None], None

    def _fusible(self, x: Array) -> bool:
        """JAX's fused attention knows no dropout, takes every softmax in float32, and has no float16 on a CPU."""
        return x.dtype in (jnp.float32, jnp.bfloat16) and not _is_active(self.attention_dropout)


def _rows(x: Array) -> Array:
    """[B, S, W] as [B * S, W]: XLA's matrix products on a CPU take no sum over two axes, as a weight's gradient is."""
    return x.reshape(-1, x.shape[-1])


def _is_plain(module: nnx.Module) -> bool:
    """Whether a product with the module's kernel is all that calling it does: no subclass, no product of its own."""
    return type(module) is nnx.Linear and module.dot_general is jax.lax.dot_general


def _is_active(dropout: nnx.Dropout) -> bool:
    return dropout.rate > 0 and not dropout.deterministic


def _key(keys: Array | None, place: int) -> Array | None:
    return None if keys is None else keys[place]


def _product(subscripts: str, a: Array, b: Array) -> Array:
    """Attention scores, in float32 or wider."""
    return jnp.einsum(subscripts, a, b, preferred_element_type=jnp.promote_types(a.dtype, jnp.float32))


class AlbertLayer(nnx.Module):
    def __init__(self, config: AlbertConfig, **how: Any) -> None:
        self.full_layer_layer_norm = layer_norm(config, config.hidden_size, **how)
        self.attention = AlbertAttention(config, **how)
        self.ffn = linear(config.hidden_size, config.intermediate_size, **how)
        self.ffn_output = linear(config.intermediate_size, config.hidden_size, **how)
        self.dropout = nnx.Dropout(config.hidden_dropout_prob)
        self.activation = activation_of(config)

    def dropouts(self) -> tuple[nnx.Dropout, ...]:
        """Those that take a key with each call, in the order of the keys."""
        return self.attention.attention_dropout, self.attention.output_dropout, self.dropout

    def __call__(
        self,
        x: Array,
        bias: Array | None,
        head_mask: Array | None,
        pack: Any,
        fused: bool,
        keys: Array | None,
        queries: Array | None = None,
    ) -> tuple[Array, Array | None]:
        x, probabilities = self.attention(x, bias, head_mask, pack, fused, keys, queries)
        rows = _rows(x)  # [B * P, H]
        inner = self.ffn_output(self.activation(self.ffn(rows)))
        rows = self.full_layer_layer_norm(rows + self.dropout(inner, rngs=_key(keys, 2)))
        return rows.reshape(x.shape), probabilities


class AlbertLayerGroup(nnx.Module):
    def __init__(self, config: AlbertConfig, **how: Any) -> None:
        self.albert_layers = nnx.List([AlbertLayer(config, **how) for _ in range(config.inner_group_num)])

    def packed(self) -> list[tuple[Array, Array] | None]:
        return [layer.attention.packed() for layer in self.albert_layers]

    def __call__(
        self,
        x: Array,
        bias: Array | None,
        head_mask: Array | None,
        packs: list[Any],
        fused: bool,
        keys: Array | None,
        queries: Array | None = None,
    ) -> tuple[Array, list[Array | None]]:
        attentions, last = [], len(packs) - 1
        for inner, (layer, pack) in enumerate(zip(self.albert_layers, packs, strict=True)):
            args = (x, bias, head_mask, pack, fused, _key(keys, inner))
            x, probabilities = layer(*args, queries if inner == last else None)
            attentions.append(probabilities)
        return x, attentions


class AlbertTransformer(nnx.Module):
    def __init__(self, config: AlbertConfig, **how: Any) -> None:
        self.embedding_hidden_mapping_in = linear(config.embedding_size, config.hidden_size, **how)
        self.albert_layer_groups = nnx.List([AlbertLayerGroup(config, **how) for _ in range(config.num_hidden_groups)])
        self.group_of = tuple(config.group_of(layer) for layer in range(config.num_hidden_layers))
        self.checkpointing: str | None = None
        self.dropout_keys = how["rngs"]["dropout"].fork()

    def __call__(
        self,
        x: Array,
        bias: Array | None,
        head_mask: Array | None,
        fused: bool,
        output_hidden_states: bool,
        output_attentions: bool,
        queries: Array | None = None,
    ) -> tuple[Array, tuple[Array, ...] | None, tuple[Array, ...] | None]:
        """All hidden states, [B, S, H]; of the last layer only those at `queries`, [B, P, H], where there are some."""
        x = self.embedding_hidden_mapping_in(x)  # [B, S, H]
        keys = self._draw_keys()
        hidden_states, attentions, last = [x], [], self.group_of[-1]
        for g, group in enumerate(self.albert_layer_groups):
            first, count = self.group_of.index(g), self.group_of.count(g)
            rows, drawn = (None if a is None else a[first : first + count] for a in (head_mask, keys))
            what = {
                "checkpointing": self.checkpointing,
                "fused": fused,
                "output_hidden_states": output_hidden_states,
                "output_attentions": output_attentions,
            }
            args = (x, bias, rows, drawn, queries if g == last else None)
            x, states, probabilities = _repeat(*nnx.split(group), *args, count, **what)
            hidden_states.extend(states)
            attentions.extend(probabilities)
        return (
            x,
            tuple(hidden_states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
        )

    def _draw_keys(self) -> Array | None:
        """A key for each dropout of each virtual layer, [L, I, 3]; a stream cannot move on inside the loop."""
        layers = [layer for group in self.albert_layer_groups for layer in group.albert_layers]
        if not any(_is_active(dropout) for layer in layers for dropout in layer.dropouts()):
            return None
        inner = len(self.albert_layer_groups[0].albert_layers)
        return jax.random.split(self.dropout_keys(), (len(self.group_of), inner, len(layers[0].dropouts())))


# Compiled on its own, so that a call outside jit traces the loop once and not every time.
@partial(
    jax.jit,
    static_argnames=("graphdef", "count", "checkpointing", "fused", "output_hidden_states", "output_attentions"),
)
def _repeat(
    graphdef: nnx.GraphDef,
    state: nnx.State,
    x: Array,
    bias: Array | None,
    rows: Array | None,
    keys: Array | None,
    queries: Array | None,
    count: int,
    checkpointing: str | None,
    fused: bool,
    output_hidden_states: bool,
    output_attentions: bool,
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """Apply one group `count` times: a program whose size does not depend on `count`.

    Args:
        graphdef: The group, without its arrays.
        state: Its arrays; constants of the loop.
        x: Hidden states, [B, S, H].
        bias: Added to the attention scores.
        rows: Head mask of each virtual layer, [count, N].
        keys: Dropout keys of each virtual layer, [count, I, 3].
        queries: The only queries of the last virtual layer, [B, P].
        count: How many virtual layers use the group.
        checkpointing: What backward may keep of each step, a name of `jax.checkpoint_policies`; `KEPT` when None.
        fused: Whether attention may run fused.
        output_hidden_states: Whether to return the states after each virtual layer.
        output_attentions: Whether to return the probabilities of each inner layer of each virtual layer.
    """
    group = nnx.merge(graphdef, state)
    packs = group.packed()  # once per forward, not per layer

    def step(
        x: Array, scanned: tuple[Array | None, Array | None], queries: Array | None = None
    ) -> tuple[Array, tuple[Any, Any]]:
        row, key = scanned
        x, probabilities = group(x, bias, row, packs, fused, key, queries)
        return x, (x if output_hidden_states else None, probabilities if output_attentions else None)

    remat = partial(jax.checkpoint, policy=getattr(jax.checkpoint_policies, checkpointing or KEPT))
    many = count if queries is None else count - 1
    alike = jax.tree.map(lambda a: a[:many], (rows, keys))
    looped = remat(step, prevent_cse=False)  # inside a scan nothing can undo it
    x, (states, probabilities) = jax.lax.scan(looped, x, alike, length=many)
    if queries is not None:
        once = remat(step, prevent_cse=checkpointing is not None)  # outside XLA may, and by itself that is well
        x, _ = once(x, jax.tree.map(lambda a: a[-1], (rows, keys)), queries)
    inner_first = [jnp.unstack(p) for p in probabilities or ()]  # I times count arrays [B, N, S, S]
    return (
        x,
        () if states is None else jnp.unstack(states),
        tuple(p for layer in zip(*inner_first, strict=True) for p in layer),
    )


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


def gathered(x: Array, positions: Array) -> Array:
    """The rows of x at some positions of each sequence, [B, P, H]."""
    return jnp.take_along_axis(x, positions[:, :, None], axis=1)


def attention_bias(mask: Array | None, dtype: Any) -> Array | None:
    if mask is None:
        return None
    mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None] if mask.ndim == 3 else mask
    wide = jnp.promote_types(dtype, jnp.float32)  # as the scores are
    return jnp.where(mask == 0, masked_score(wide.name), 0.0).astype(wide)


def head_mask_rows(config: AlbertConfig, mask: Array | None, like: Array) -> Array | None:
    kept = kept_heads(config)
    if kept is not None:
        kept = jnp.asarray(kept, like.dtype)
        mask = kept if mask is None else kept * mask
    shape = (config.num_hidden_layers, config.num_attention_heads)
    return None if mask is None else jnp.broadcast_to(mask.astype(like.dtype), shape)

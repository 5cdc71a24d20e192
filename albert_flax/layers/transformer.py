"""A layer, the group of layers that is shared, and the encoder that applies groups L times."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from albert_core.config import AlbertConfig
from albert_flax.layers.attention import AlbertAttention
from albert_flax.layers.modules import activation_of, as_rows, is_active, key_at, layer_norm, linear

# What backward keeps of a layer in training: products with weights, not attention's. On a CPU the rest is computed
# again sooner than it is written and read (base, 8 x 128: about a tenth of a step); a GPU or TPU has not been measured.
KEPT = "dots_with_no_batch_dims_saveable"


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
        keys: Array | None,
        queries: Array | None = None,
    ) -> tuple[Array, Array | None]:
        x, probabilities = self.attention(x, bias, head_mask, pack, keys, queries)
        rows = as_rows(x)  # [B * P, H]
        inner = self.ffn_output(self.activation(self.ffn(rows)))
        rows = self.full_layer_layer_norm(rows + self.dropout(inner, rngs=key_at(keys, 2)))
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
        keys: Array | None,
        queries: Array | None = None,
    ) -> tuple[Array, list[Array | None]]:
        attentions, last = [], len(packs) - 1
        for inner, (layer, pack) in enumerate(zip(self.albert_layers, packs, strict=True)):
            args = (x, bias, head_mask, pack, key_at(keys, inner))
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
        if not any(is_active(dropout) for layer in layers for dropout in layer.dropouts()):
            return None
        inner = len(self.albert_layer_groups[0].albert_layers)
        return jax.random.split(self.dropout_keys(), (len(self.group_of), inner, len(layers[0].dropouts())))


# Compiled on its own, so that a call outside jit traces the loop once and not every time.
@partial(
    jax.jit,
    static_argnames=("graphdef", "count", "checkpointing", "output_hidden_states", "output_attentions"),
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
        output_hidden_states: Whether to return the states after each virtual layer.
        output_attentions: Whether to return the probabilities of each inner layer of each virtual layer.
    """
    group = nnx.merge(graphdef, state)
    packs = group.packed()  # once per forward, not per layer

    def step(
        x: Array, scanned: tuple[Array | None, Array | None], queries: Array | None = None
    ) -> tuple[Array, tuple[Any, Any]]:
        row, key = scanned
        x, probabilities = group(x, bias, row, packs, key, queries)
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

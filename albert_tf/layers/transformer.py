"""A layer, the group of layers that is shared, and the encoder that applies groups L times."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from albert_core.config import AlbertConfig
from albert_tf.layers.attention import AlbertAttention
from albert_tf.layers.modules import Tensor, activation_of, as_rows, dense, dropped, norm


class AlbertLayer(layers.Layer):
    def __init__(self, config: AlbertConfig, dtype: Any = None, name: str | None = None) -> None:
        super().__init__(dtype=dtype, name=name, autocast=False)  # the mask stays wide
        hidden, inner = config.hidden_size, config.intermediate_size
        self.full_layer_layer_norm = norm(config, hidden, "full_layer_layer_norm", dtype)
        self.attention = AlbertAttention(config, dtype)
        self.ffn = dense(config, hidden, inner, "ffn", dtype)
        self.ffn_output = dense(config, inner, hidden, "ffn_output", dtype)
        self.dropout = layers.Dropout(config.hidden_dropout_prob, dtype=dtype)
        self.activation = activation_of(config)
        self.built = True

    def dropouts(self) -> tuple[layers.Dropout, ...]:
        """Those that may take a drawn seed, in the order of the seeds."""
        return self.attention.attention_dropout, self.attention.output_dropout, self.dropout

    def call(
        self,
        x: Tensor,
        bias: Tensor | None,
        head_mask: Tensor | None,
        pack: Any,
        fused: bool,
        queries: Tensor | None = None,
        seeds: list[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        x, probabilities = self.attention(x, bias, head_mask, pack, fused=fused, queries=queries, seeds=seeds)
        rows = as_rows(x)  # [B * P, H]
        inner = self.activation(self.ffn(rows))  # [B * P, F]
        rows = self.full_layer_layer_norm(rows + dropped(self.dropout, self.ffn_output(inner), seeds, 2))
        return ops.reshape(rows, ops.shape(x)), probabilities


class AlbertLayerGroup(layers.Layer):
    def __init__(self, config: AlbertConfig, dtype: Any = None, name: str | None = None) -> None:
        super().__init__(dtype=dtype, name=name, autocast=False)  # the mask stays wide
        self.albert_layers = [AlbertLayer(config, dtype, f"albert_layers_{i}") for i in range(config.inner_group_num)]
        self.built = True

    def packed(self) -> list[tuple[Tensor, Tensor] | None]:
        return [layer.attention.packed() for layer in self.albert_layers]

    def draw_seeds(self) -> list[list[Tensor | None]]:
        """A seed for each dropout of each layer; None where nothing is dropped."""
        return [
            [dropout.seed_generator.next() if dropout.rate > 0 else None for dropout in layer.dropouts()]
            for layer in self.albert_layers
        ]

    def call(
        self,
        x: Tensor,
        bias: Tensor | None,
        head_mask: Tensor | None,
        packs: list[Any],
        fused: bool,
        queries: Tensor | None = None,
        seeds: list[list[Tensor]] | None = None,
        training: bool | None = None,
    ) -> tuple[Tensor, list[Tensor | None]]:
        attentions, last = [], len(packs) - 1
        for inner, (layer, pack) in enumerate(zip(self.albert_layers, packs, strict=True)):
            how = {"queries": queries if inner == last else None, "seeds": seeds and seeds[inner]}
            x, probabilities = layer(x, bias, head_mask, pack, fused=fused, **how)
            attentions.append(probabilities)
        return x, attentions


class AlbertTransformer(layers.Layer):
    def __init__(self, config: AlbertConfig, dtype: Any = None, name: str = "encoder") -> None:
        super().__init__(dtype=dtype, name=name, autocast=False)  # the mask stays wide
        self.embedding_hidden_mapping_in = dense(
            config, config.embedding_size, config.hidden_size, "embedding_hidden_mapping_in", dtype
        )
        self.albert_layer_groups = [
            AlbertLayerGroup(config, dtype, f"albert_layer_groups_{g}") for g in range(config.num_hidden_groups)
        ]
        self.group_of = tuple(config.group_of(layer) for layer in range(config.num_hidden_layers))
        self.checkpointing: str | None = None
        self.built = True

    def call(
        self,
        x: Tensor,
        bias: Tensor | None,
        head_mask: Tensor | None,
        fused: bool,
        queries: Tensor | None = None,
        training: bool | None = None,
    ) -> tuple[Tensor, list[Tensor], list[Tensor | None]]:
        """All hidden states, [B, S, H]; of the last layer only those at `queries`, [B, P, H], where there are some."""
        x = self.embedding_hidden_mapping_in(x)  # [B, S, H]
        packs = [group.packed() for group in self.albert_layer_groups]  # once per forward, not per layer
        hidden_states, attentions, last = [x], [], len(self.group_of) - 1
        for layer, g in enumerate(self.group_of):
            row = None if head_mask is None else head_mask[layer]
            how = {"fused": fused, "queries": queries if layer == last else None}
            x, probabilities = self._run_group(self.albert_layer_groups[g], x, bias, row, packs[g], training, how)
            hidden_states.append(x)
            attentions.extend(probabilities)
        return x, hidden_states, attentions

    def _run_group(
        self,
        group: AlbertLayerGroup,
        x: Tensor,
        bias: Any,
        row: Any,
        packs: Any,
        training: bool | None,
        how: dict[str, Any],
    ) -> tuple[Tensor, list[Tensor | None]]:
        """With checkpointing backward applies the group again.

        It must see the same dropout then, so seeds are drawn before; and gradients flow only through what is passed
        to the function or read in it, so the packs are made anew.
        """
        if self.checkpointing is None:
            return group(x, bias, row, packs, **how)
        seeds = group.draw_seeds() if training else None

        def again(x: Tensor, row: Tensor | None = None) -> tuple[Tensor, ...]:
            x, probabilities = group(x, bias, row, group.packed(), seeds=seeds, training=training, **how)
            return x, *(p for p in probabilities if p is not None)

        x, *probabilities = keras.remat(again)(x, *([] if row is None else [row]))
        return x, probabilities or [None] * len(packs)

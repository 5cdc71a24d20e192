"""The building blocks of ALBERT in `keras.ops`, in reading order; what each computes stands in `albert_core.reference`.

Written in `keras.ops`, so that the same classes run on every Keras backend.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import keras
from keras import backend, initializers, layers, ops

from albert_core.config import AlbertConfig
from albert_core.numerics import activation, kept_heads, masked_score

Tensor = Any
_XP = SimpleNamespace(
    abs=ops.abs,
    erf=ops.erf,
    exp=ops.exp,
    log1p=ops.log1p,
    maximum=ops.maximum,
    minimum=ops.minimum,
    tanh=ops.tanh,
    where=ops.where,
)
_HAS_FUSED_ATTENTION = backend.backend() == "jax"  # on TensorFlow Keras writes out what `_eager` does
_KERNELS: dict[str, Callable[[Tensor], Tensor]] = {"relu": ops.relu, "silu": ops.silu}
_FLOAT32_KERNELS: dict[str, Callable[[Tensor], Tensor]] = {  # TensorFlow's hold a constant of 32 bits
    "gelu": partial(ops.gelu, approximate=False),
    "gelu_new": partial(ops.gelu, approximate=True),
}


def activation_of(config: AlbertConfig) -> Callable[[Tensor], Tensor]:
    """The activation a config names; Keras' kernel where it has one that agrees in float64."""
    act = config.hidden_act
    if not isinstance(act, str):
        return act
    return _KERNELS.get(act) or _widened(act)


def _widened(act: str) -> Callable[[Tensor], Tensor]:
    """Several steps in float32 or wider: each step in half precision would round, and backward again."""
    formula = activation(_XP, act)
    kernel = _FLOAT32_KERNELS.get(act, formula)

    def wide(x: Tensor) -> Tensor:
        dtype = backend.standardize_dtype(x.dtype)
        name = backend.result_type(dtype, "float32")
        with keras.name_scope(act):  # TensorFlow fuses it into a product only if its name sorts behind "dense", "ffn"
            return ops.cast((kernel if name == "float32" else formula)(ops.cast(x, name)), dtype)

    return wide


class WordInitializer(initializers.TruncatedNormal):
    """The normal of every matrix, with a row of zeros for the padding."""

    def __init__(self, stddev: float, pad: int | None) -> None:
        super().__init__(stddev=stddev)
        self.pad = pad

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        values = super().__call__(shape, dtype=dtype)
        return values if self.pad is None else ops.where(ops.arange(shape[0])[:, None] == self.pad, 0.0, values)

    def get_config(self) -> dict[str, Any]:
        return {"stddev": self.stddev, "pad": self.pad}


def embedding(
    config: AlbertConfig, rows: int, width: int, name: str, dtype: Any, pad: int | None = None
) -> layers.Embedding:
    """A table that exists at once."""
    table = layers.Embedding(
        rows, width, embeddings_initializer=WordInitializer(config.initializer_range, pad), dtype=dtype, name=name
    )
    table.build((None,))
    return table


def dense(config: AlbertConfig, width_in: int, width_out: int, name: str, dtype: Any) -> layers.Dense:
    """A linear map that exists at once."""
    layer = layers.Dense(
        width_out,
        kernel_initializer=initializers.TruncatedNormal(stddev=config.initializer_range),
        bias_initializer="zeros",
        dtype=dtype,
        name=name,
    )
    layer.build((None, width_in))
    return layer


def norm(config: AlbertConfig, width: int, name: str, dtype: Any) -> layers.LayerNormalization:
    """A layer norm that exists at once; Keras takes its statistics in float32 or wider."""
    layer = layers.LayerNormalization(
        epsilon=config.layer_norm_eps, gamma_initializer="ones", beta_initializer="zeros", dtype=dtype, name=name
    )
    layer.build((None, width))
    return layer


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


class AlbertAttention(layers.Layer):
    def __init__(self, config: AlbertConfig, dtype: Any = None, name: str = "attention") -> None:
        super().__init__(dtype=dtype, name=name, autocast=False)  # the mask stays wide
        width = config.hidden_size
        self.query = dense(config, width, width, "query", dtype)
        self.key = dense(config, width, width, "key", dtype)
        self.value = dense(config, width, width, "value", dtype)
        self.dense = dense(config, width, width, "dense", dtype)
        self.LayerNorm = norm(config, width, "LayerNorm", dtype)
        self.attention_dropout = layers.Dropout(config.attention_probs_dropout_prob, dtype=dtype)
        self.output_dropout = layers.Dropout(config.hidden_dropout_prob, dtype=dtype)
        self.position_embedding_type = config.position_embedding_type
        if self.position_embedding_type != "absolute":
            self.reach = config.max_position_embeddings - 1
            self.distance_embedding = embedding(
                config, 2 * self.reach + 1, config.head_size, "distance_embedding", dtype
            )
        self.heads, self.head_size = config.num_attention_heads, config.head_size
        self.scale = 1.0 / math.sqrt(config.head_size)
        self.built = True

    def packed(self) -> tuple[Tensor, Tensor] | None:
        """Kernel and bias of query, key and value as one product, or None where one of them is no plain Dense."""
        parts = (self.query, self.key, self.value)
        if not all(_is_plain(part) for part in parts):
            return None
        kernel, bias = ops.concatenate([p.kernel for p in parts], axis=1), ops.concatenate([p.bias for p in parts])
        return ops.cast(kernel, self.compute_dtype), ops.cast(bias, self.compute_dtype)

    def call(
        self,
        x: Tensor,
        bias: Tensor | None,
        head_mask: Tensor | None,
        pack: tuple[Tensor, Tensor] | None,
        fused: bool,
        queries: Tensor | None = None,
        seeds: list[Tensor] | None = None,
        training: bool | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        own = x if queries is None else gathered(x, queries)  # [B, P, H]
        q, k, v = self._project(own, x, pack)  # [B, N, P, D], [B, N, S, D] twice
        if self.position_embedding_type != "absolute":
            relative = self._relative_scores(q, k)  # [B, N, S, S]
            bias = relative if bias is None else ops.cast(relative, bias.dtype) + bias
        drops = training and self.attention_dropout.rate > 0  # Keras' fused attention knows no dropout,
        rounds = bias is not None and backend.standardize_dtype(q.dtype) in ("float16", "bfloat16")  # and rounds a mask
        attend = self._fused if fused and _HAS_FUSED_ATTENTION and not drops and not rounds else self._eager
        context, probabilities = attend(q, k, v, bias, head_mask, seeds)
        rows = _rows(own)  # [B * P, H]
        context = ops.reshape(ops.transpose(context, (0, 2, 1, 3)), ops.shape(rows))
        rows = self.LayerNorm(rows + _dropped(self.output_dropout, self.dense(context), seeds, 1))
        return ops.reshape(rows, ops.shape(own)), probabilities

    def _project(self, own: Tensor, x: Tensor, pack: tuple[Tensor, Tensor] | None) -> tuple[Tensor, ...]:
        if pack is None:
            parts = ((self.query, own), (self.key, x), (self.value, x))
            return tuple(self._by_head(layer(rows), rows, 1)[0] for layer, rows in parts)
        if own is x:
            return self._by_head(_product(x, *pack), x, 3)
        (wq, wkv), (bq, bkv) = (ops.split(part, [x.shape[-1]], axis=-1) for part in pack)
        return self._by_head(_product(own, wq, bq), own, 1) + self._by_head(_product(x, wkv, bkv), x, 2)

    def _by_head(self, packed: Tensor, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Products of x side by side as [B, N, S, D] each."""
        batch, length, _ = ops.shape(x)
        packed = ops.reshape(packed, (batch, length, parts, self.heads, self.head_size))
        return tuple(ops.unstack(ops.transpose(packed, (2, 0, 3, 1, 4)), parts))

    def _relative_scores(self, q: Tensor, k: Tensor) -> Tensor:
        place = ops.arange(ops.shape(q)[2])
        table = self.distance_embedding(place[:, None] - place[None, :] + self.reach)  # [S, S, D]
        scores = ops.einsum("bnqd,qkd->bnqk", q, table)
        if self.position_embedding_type == "relative_key_query":
            scores = scores + ops.einsum("bnkd,qkd->bnqk", k, table)
        return scores

    def _eager(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, head_mask: Tensor | None, seeds: Any
    ) -> tuple[Tensor, Tensor]:
        wide = backend.result_type(q.dtype, "float32")  # TensorFlow promotes nothing by itself
        scores = ops.cast(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) * self.scale, wide)  # [B, N, S, S]
        scores = scores if bias is None else scores + ops.cast(bias, wide)
        probabilities = _dropped(self.attention_dropout, ops.cast(_softmax(scores), v.dtype), seeds, 0)
        if head_mask is not None:
            probabilities = probabilities * head_mask[:, None, None]
        return ops.matmul(probabilities, v), probabilities

    def _fused(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, head_mask: Tensor | None, seeds: Any
    ) -> tuple[Tensor, None]:
        wide = backend.result_type(q.dtype, "float32")
        scale = ops.convert_to_tensor(self.scale, wide)  # as a Python float it would go through 32 bits
        q, k, v = (ops.transpose(part, (0, 2, 1, 3)) for part in (q, k, v))  # [B, S, N, D]
        context = ops.transpose(ops.dot_product_attention(q, k, v, bias=bias, scale=scale), (0, 2, 1, 3))
        return context if head_mask is None else context * head_mask[:, None, None], None


class _Drawn(keras.random.SeedGenerator):
    """A seed that has been drawn already; whoever asks twice gets the same."""

    def __init__(self, seed: Tensor) -> None:
        self.seed = seed

    def next(self, ordered: bool = True) -> Tensor:
        return self.seed


def _dropped(dropout: layers.Dropout, x: Tensor, seeds: list[Tensor] | None, place: int) -> Tensor:
    """The layer's dropout, with a drawn seed where there are some."""
    if seeds is None or dropout.rate == 0:
        return dropout(x)
    return keras.random.dropout(x, dropout.rate, seed=_Drawn(seeds[place]))


def _rows(x: Tensor) -> Tensor:
    """[B, S, W] as [B * S, W]: a product of two matrices takes bias, activation and residual into its kernel."""
    return ops.reshape(x, (-1, x.shape[-1]))


def _product(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    return ops.add(ops.matmul(_rows(x), kernel), bias)


def _softmax(scores: Tensor) -> Tensor:
    """Softmax over the last axis, without Keras' warning about an axis of one."""
    return ops.ones_like(scores) if scores.shape[-1] == 1 else ops.softmax(scores)


def _is_plain(layer: layers.Layer) -> bool:
    """Whether a product with the layer's kernel is all that calling it does: no subclass, adapter or quantisation."""
    return type(layer) is layers.Dense and not layer.lora_enabled and layer.quantization_mode is None


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
        rows = _rows(x)  # [B * P, H]
        inner = self.activation(self.ffn(rows))  # [B * P, F]
        rows = self.full_layer_layer_norm(rows + _dropped(self.dropout, self.ffn_output(inner), seeds, 2))
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


class AlbertMLMHead(layers.Layer):
    def __init__(self, config: AlbertConfig, dtype: Any = None, name: str = "predictions") -> None:
        super().__init__(dtype=dtype, name=name)
        self.bias = self.add_weight(shape=(config.vocab_size,), initializer="zeros", name="bias")
        self.LayerNorm = norm(config, config.embedding_size, "LayerNorm", dtype)
        self.dense = dense(config, config.hidden_size, config.embedding_size, "dense", dtype)
        self.activation = activation_of(config)
        self.built = True

    def call(self, x: Tensor, words: Tensor) -> Tensor:
        lead = ops.shape(x)[:2]
        x = self.LayerNorm(self.activation(self.dense(_rows(x))))  # [B * P, E]
        scores = ops.add(ops.matmul(x, ops.transpose(words)), self.bias)
        return ops.reshape(scores, (*lead, scores.shape[-1]))  # [B, P, V]


class AlbertSOPHead(layers.Layer):
    def __init__(self, config: AlbertConfig, dtype: Any = None, name: str = "sop_classifier") -> None:
        super().__init__(dtype=dtype, name=name)
        self.dropout = layers.Dropout(config.classifier_dropout_prob, dtype=dtype)
        self.classifier = dense(config, config.hidden_size, 2, "classifier", dtype)
        self.built = True

    def call(self, pooled: Tensor) -> Tensor:
        return self.classifier(self.dropout(pooled))  # [B, 2]


def gathered(x: Tensor, positions: Tensor) -> Tensor:
    """The rows of x at some positions of each sequence, [B, P, H]."""
    batch, sequence, width = ops.shape(x)
    starts = ops.cast(ops.arange(batch) * sequence, positions.dtype)
    return ops.take(ops.reshape(x, (-1, width)), positions + starts[:, None], axis=0)


def attention_bias(mask: Tensor | None, dtype: str) -> Tensor | None:
    if mask is None:
        return None
    mask = mask[:, None, None, :] if len(mask.shape) == 2 else mask[:, None] if len(mask.shape) == 3 else mask
    name = backend.result_type(dtype, "float32")  # float16 could not absorb a score
    return ops.cast(ops.logical_not(ops.cast(mask, "bool")), name) * masked_score(name)


def head_mask_rows(config: AlbertConfig, mask: Tensor | None, like: Tensor) -> Tensor | None:
    kept = kept_heads(config)
    if kept is not None:
        kept = ops.convert_to_tensor(kept, dtype=like.dtype)
        mask = kept if mask is None else kept * ops.cast(mask, like.dtype)
    if mask is None:
        return None
    return ops.broadcast_to(ops.cast(mask, like.dtype), (config.num_hidden_layers, config.num_attention_heads))

"""The whole model over an array namespace: the executable specification and the oracle of the tests.

In NumPy float64 it is the forward oracle; `jax.grad` of it over float64 `jax.numpy` is the gradient oracle. Nothing
is fast here and nothing is left to a framework's default. There is no dropout: this is evaluation.
Paper: https://arxiv.org/abs/1909.11942. Original: modeling.py of https://github.com/google-research/albert.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.numerics import IGNORED_LABEL, activation, kept_heads, masked_score
from albert_core.parameters import PREFIX
from albert_core.signature import problem_type

__all__ = ["forward", "namespace"]

Array = Any
State = Mapping[str, Array]


def namespace(xp: Any = np) -> Any:
    """`numpy` or `jax.numpy` with the error function that neither has."""
    if xp is np:
        erf = np.vectorize(math.erf, otypes=[np.float64])
        erf_like = lambda x: erf(x).astype(x.dtype)  # noqa: E731
    else:
        erf_like = importlib.import_module("jax.scipy.special").erf
    names = "exp tanh maximum minimum where log1p log abs sqrt einsum arange asarray ones zeros_like".split()
    return SimpleNamespace(**{name: getattr(xp, name) for name in names}, erf=erf_like)


def forward(
    config: AlbertConfig,
    state: State,
    inputs: Mapping[str, Array],
    head: str = "AlbertModel",
    pooling: bool | None = None,
    xp: Any = np,
) -> dict[str, Array]:
    """Run a head.

    Args:
        config: The model's hyper-parameters.
        state: Arrays under canonical names; their dtype is the one computed in.
        inputs: Arrays by input name, as `albert_core.signature` describes them.
        head: A class name of `albert_core.heads`.
        pooling: Whether the encoder has a pooler; the class's own answer when None.
        xp: `numpy` or `jax.numpy`.

    Returns:
        Every present field of the head's output, always with hidden_states and attentions.
    """
    ns = namespace(xp)
    given = dict(inputs)
    choices = None
    if head == "AlbertForMultipleChoice":
        given, choices = _flat_choices(given)
    encoded = _encoder(ns, config, state, given, HEADS[head].pooling if pooling is None else pooling)
    own = _HEADS[head](ns, config, state, encoded, given, choices)
    return {
        **{k: v for k, v in own.items() if v is not None},
        **{k: encoded[k] for k in ("hidden_states", "attentions")},
    }


# -- encoder -------------------------------------------------------------------------------------------------------


def _encoder(
    ns: Any, config: AlbertConfig, state: State, given: Mapping[str, Array], pooling: bool
) -> dict[str, Array]:
    x = _embeddings(ns, config, state, given)  # [B, S, E]
    x = _linear(x, state, PREFIX + "encoder.embedding_hidden_mapping_in")  # [B, S, H]
    bias = _mask_bias(ns, given.get("attention_mask"), x)
    rows = _head_mask(ns, config, given.get("head_mask"), x)
    hidden_states, attentions = [x], []
    for layer in range(config.num_hidden_layers):
        for inner in range(config.inner_group_num):
            at = f"{PREFIX}encoder.albert_layer_groups.{config.group_of(layer)}.albert_layers.{inner}."
            x, probabilities = _layer(ns, config, state, at, x, bias, rows[layer])
            attentions.append(probabilities)
        hidden_states.append(x)
    if (positions := given.get("output_positions")) is not None:
        x = _gathered(ns, x, positions)  # [B, P, H]
    pooled = ns.tanh(_linear(x[:, 0], state, PREFIX + "pooler")) if pooling else None  # [B, H]
    return {"last": x, "pooled": pooled, "hidden_states": tuple(hidden_states), "attentions": tuple(attentions)}


def _embeddings(ns: Any, config: AlbertConfig, state: State, given: Mapping[str, Array]) -> Array:
    at = PREFIX + "embeddings."
    x = given.get("inputs_embeds")
    x = state[at + "word_embeddings.weight"][given["input_ids"]] if x is None else x
    segments = given.get("token_type_ids")
    table = state[at + "token_type_embeddings.weight"]
    x = x + (table[0] if segments is None else table[segments])
    if config.position_embedding_type == "absolute":
        positions = given.get("position_ids")
        x = x + state[at + "position_embeddings.weight"][ns.arange(x.shape[1]) if positions is None else positions]
    return _norm(ns, config, x, state, at + "LayerNorm")


def _layer(
    ns: Any, config: AlbertConfig, state: State, at: str, x: Array, bias: Array, head_mask: Array
) -> tuple[Array, Array]:
    context, probabilities = _attention(ns, config, state, at + "attention.", x, bias, head_mask)
    x = _norm(ns, config, x + _linear(context, state, at + "attention.dense"), state, at + "attention.LayerNorm")
    inner = activation(ns, config.hidden_act)(_linear(x, state, at + "ffn"))  # [B, S, F]
    x = _norm(ns, config, x + _linear(inner, state, at + "ffn_output"), state, at + "full_layer_layer_norm")
    return x, probabilities


def _attention(
    ns: Any, config: AlbertConfig, state: State, at: str, x: Array, bias: Array, head_mask: Array
) -> tuple[Array, Array]:
    split = (*x.shape[:2], config.num_attention_heads, config.head_size)
    q, k, v = (_linear(x, state, at + name).reshape(split) for name in ("query", "key", "value"))  # [B, S, N, D]
    scores = ns.einsum("bqnd,bknd->bnqk", q, k) / math.sqrt(config.head_size) + bias  # [B, N, S, S]
    if config.position_embedding_type != "absolute":
        # Shaw et al. 2018 (keys), Huang et al. 2020 (keys and queries); added unscaled, as in transformers 4.57
        place = ns.arange(x.shape[1])
        distance = place[:, None] - place[None, :] + config.max_position_embeddings - 1
        table = state[at + "distance_embedding.weight"][distance]  # [S, S, D]
        scores = scores + ns.einsum("bqnd,qkd->bnqk", q, table)
        if config.position_embedding_type == "relative_key_query":
            scores = scores + ns.einsum("bknd,qkd->bnqk", k, table)
    probabilities = _softmax(ns, scores) * head_mask[None, :, None, None]
    context = ns.einsum("bnqk,bknd->bqnd", probabilities, v)
    return context.reshape(x.shape), probabilities


def _mask_bias(ns: Any, mask: Array | None, x: Array) -> Array:
    """0 where a position may be attended to, the masked score elsewhere; [B, 1 or N, 1 or S, S]."""
    if mask is None:
        return ns.zeros_like(x[:, :1, :1, None])
    mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None] if mask.ndim == 3 else mask
    return ns.where(mask != 0, 0.0, masked_score(str(x.dtype))).astype(x.dtype)


def _head_mask(ns: Any, config: AlbertConfig, mask: Array | None, x: Array) -> Array:
    """One row of factors per virtual layer, pruned heads among them, [L, N]."""
    rows = ns.ones((config.num_hidden_layers, config.num_attention_heads), dtype=x.dtype)
    for factors in (mask, kept_heads(config)):
        rows = rows if factors is None else rows * ns.asarray(factors, dtype=x.dtype)
    return rows


def _gathered(ns: Any, x: Array, positions: Array) -> Array:
    """The rows of x at some positions of each sequence, [B, P, H]."""
    return x[ns.arange(positions.shape[0])[:, None], positions]


# -- building blocks -----------------------------------------------------------------------------------------------


def _linear(x: Array, state: State, at: str) -> Array:
    return x @ state[at + ".weight"].T + state[at + ".bias"]


def _norm(ns: Any, config: AlbertConfig, x: Array, state: State, at: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    return centred / ns.sqrt(variance + config.layer_norm_eps) * state[at + ".weight"] + state[at + ".bias"]


def _softmax(ns: Any, x: Array) -> Array:
    e = ns.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _log_softmax(ns: Any, x: Array) -> Array:
    x = x - x.max(-1, keepdims=True)
    return x - ns.log(ns.exp(x).sum(-1, keepdims=True))


def _cross_entropy(ns: Any, logits: Array, labels: Any, ignored: int = IGNORED_LABEL) -> Array | None:
    """Mean negative log-likelihood over the labels that are not ignored; 0 when all are."""
    if labels is None:
        return None
    flat, labels = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    counts = labels != ignored
    chosen = _log_softmax(ns, flat)[ns.arange(labels.shape[0]), ns.where(counts, labels, 0)]
    return -ns.where(counts, chosen, 0.0).sum() / ns.maximum(counts.sum(), 1)


# -- heads ---------------------------------------------------------------------------------------------------------


def _mlm_logits(ns: Any, config: AlbertConfig, state: State, x: Array, positions: Array | None) -> Array:
    if positions is not None:
        x = _gathered(ns, x, positions)  # [B, P, H]
    x = activation(ns, config.hidden_act)(_linear(x, state, "predictions.dense"))  # [B, P, E]
    x = _norm(ns, config, x, state, "predictions.LayerNorm")
    return x @ state[PREFIX + "embeddings.word_embeddings.weight"].T + state["predictions.bias"]  # [B, P, V]


def _model(
    ns: Any, config: AlbertConfig, state: State, enc: dict[str, Array], given: Mapping, _: Any
) -> dict[str, Array]:
    return {"last_hidden_state": enc["last"], "pooler_output": enc["pooled"]}


def _pretraining(
    ns: Any, config: AlbertConfig, state: State, enc: dict[str, Array], given: Mapping, _: Any
) -> dict[str, Array]:
    logits = _mlm_logits(ns, config, state, enc["last"], given.get("masked_positions"))
    order = _linear(enc["pooled"], state, "sop_classifier.classifier")
    masked = _cross_entropy(ns, logits, given.get("labels"))
    swapped = _cross_entropy(ns, order, given.get("sentence_order_label"))
    loss = None if masked is None or swapped is None else masked + swapped
    return {"loss": loss, "prediction_logits": logits, "sop_logits": order}


def _masked_lm(
    ns: Any, config: AlbertConfig, state: State, enc: dict[str, Array], given: Mapping, _: Any
) -> dict[str, Array]:
    logits = _mlm_logits(ns, config, state, enc["last"], given.get("masked_positions"))
    return {"loss": _cross_entropy(ns, logits, given.get("labels")), "logits": logits}


def _sequence(
    ns: Any, config: AlbertConfig, state: State, enc: dict[str, Array], given: Mapping, _: Any
) -> dict[str, Array]:
    logits, labels = _linear(enc["pooled"], state, "classifier"), given.get("labels")
    if labels is None:
        return {"logits": logits}
    kind = problem_type(config, labels)
    if kind == "single_label_classification":
        return {"loss": _cross_entropy(ns, logits, labels), "logits": logits}
    labels = labels.reshape(logits.shape).astype(logits.dtype)
    if kind != "multi_label_classification":
        return {"loss": ((logits - labels) ** 2).mean(), "logits": logits}
    losses = ns.maximum(logits, 0) - logits * labels + ns.log1p(ns.exp(-ns.abs(logits)))  # binary cross-entropy
    return {"loss": losses.mean(), "logits": logits}


def _multiple_choice(
    ns: Any, config: AlbertConfig, state: State, enc: dict[str, Array], given: Mapping, choices: Any
) -> dict[str, Array]:
    logits = _linear(enc["pooled"], state, "classifier").reshape(-1, choices)
    return {"loss": _cross_entropy(ns, logits, given.get("labels")), "logits": logits}


def _tokens(
    ns: Any, config: AlbertConfig, state: State, enc: dict[str, Array], given: Mapping, _: Any
) -> dict[str, Array]:
    logits = _linear(enc["last"], state, "classifier")
    return {"loss": _cross_entropy(ns, logits, given.get("labels")), "logits": logits}


def _question(
    ns: Any, config: AlbertConfig, state: State, enc: dict[str, Array], given: Mapping, _: Any
) -> dict[str, Array]:
    """The loss is the mean over both ends; a position from S on is ignored, one below 0 is 0."""
    logits = _linear(enc["last"], state, "qa_outputs")
    ends = {"start": logits[..., 0], "end": logits[..., 1]}
    length, losses = logits.shape[1], []
    for name, scores in ends.items():
        if (positions := given.get(f"{name}_positions")) is not None:
            losses.append(_cross_entropy(ns, scores, ns.minimum(ns.maximum(positions, 0), length), ignored=length))
    loss = sum(losses) / 2 if len(losses) == 2 else None
    return {"loss": loss, "start_logits": ends["start"], "end_logits": ends["end"]}


_HEADS = {
    "AlbertModel": _model,
    "AlbertForPreTraining": _pretraining,
    "AlbertForMaskedLM": _masked_lm,
    "AlbertForSequenceClassification": _sequence,
    "AlbertForMultipleChoice": _multiple_choice,
    "AlbertForTokenClassification": _tokens,
    "AlbertForQuestionAnswering": _question,
}


def _flat_choices(given: Mapping[str, Array]) -> tuple[dict[str, Array], int]:
    """As `signature.flat_choices`, over NumPy."""
    lead = given["input_ids"] if "input_ids" in given else given["inputs_embeds"]
    batch, choices = lead.shape[:2]
    flat = dict(given)
    for name in ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds"):
        if (x := given.get(name)) is None:
            continue
        if name == "attention_mask" and (x.ndim == 2 or (x.ndim < 5 and x.shape[1] != choices)):
            flat[name] = x.repeat(choices, axis=0)
        else:
            flat[name] = x.reshape(batch * choices, *x.shape[2:])
    return flat, choices

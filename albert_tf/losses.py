"""The losses of `albert_core.reference` in `keras.ops`, in float32 or wider; None without labels."""

from __future__ import annotations

from typing import Any

from keras import backend, ops

from albert_core.config import AlbertConfig
from albert_core.numerics import IGNORED_LABEL
from albert_core.signature import problem_type

Tensor = Any


def cross_entropy(logits: Tensor, labels: Tensor | None, ignored: int = IGNORED_LABEL) -> Tensor | None:
    if labels is None:
        return None
    labels = ops.reshape(labels, (-1,))
    counted = ops.not_equal(labels, ignored)
    wide = backend.result_type(logits.dtype, "float32")
    logits = ops.cast(ops.reshape(logits, (-1, logits.shape[-1])), wide)
    losses = ops.sparse_categorical_crossentropy(ops.where(counted, labels, 0), logits, from_logits=True)
    total = ops.sum(ops.where(counted, losses, 0.0))
    return total / ops.maximum(ops.sum(ops.cast(counted, wide)), 1.0)


def sequence_loss(config: AlbertConfig, logits: Tensor, labels: Tensor | None) -> Tensor | None:
    kind = None if labels is None else problem_type(config, labels)
    if labels is None or kind == "single_label_classification":
        return cross_entropy(logits, labels)
    logits = ops.cast(logits, backend.result_type(logits.dtype, "float32"))
    labels = ops.reshape(ops.cast(labels, logits.dtype), ops.shape(logits))
    if kind == "multi_label_classification":
        return ops.mean(ops.binary_crossentropy(labels, logits, from_logits=True))
    return ops.mean(ops.square(logits - labels))


def span_loss(start_logits: Tensor, end_logits: Tensor, start: Tensor | None, end: Tensor | None) -> Tensor | None:
    if start is None or end is None:
        return None
    length = ops.cast(ops.shape(start_logits)[1], backend.standardize_dtype(start.dtype))
    ends = ((start_logits, start), (end_logits, end))
    return sum(cross_entropy(logits, ops.clip(place, 0, length), ignored=length) for logits, place in ends) / 2

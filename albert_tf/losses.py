"""The losses of the heads, in float32 or wider."""

from __future__ import annotations

from typing import Any

from keras import backend, ops

from albert_core.numerics import IGNORED_LABEL

Tensor = Any


def cross_entropy(logits: Tensor, labels: Tensor | None, ignored: int = IGNORED_LABEL) -> Tensor | None:
    """Mean over the labels that are not ignored, 0 when all are; None without labels."""
    if labels is None:
        return None
    labels = ops.reshape(labels, (-1,))
    counted = ops.not_equal(labels, ignored)
    wide = backend.result_type(logits.dtype, "float32")
    logits = ops.cast(ops.reshape(logits, (-1, logits.shape[-1])), wide)
    losses = ops.sparse_categorical_crossentropy(ops.where(counted, labels, 0), logits, from_logits=True)
    total = ops.sum(ops.where(counted, losses, 0.0))
    return total / ops.maximum(ops.sum(ops.cast(counted, wide)), 1.0)

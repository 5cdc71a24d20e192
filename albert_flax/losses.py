"""The losses of `albert_core.reference` in JAX, in float32 or wider; None without labels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from albert_core.config import AlbertConfig
from albert_core.numerics import IGNORED_LABEL
from albert_core.signature import problem_type


def cross_entropy(logits: Array, labels: Array | None, ignored: int = IGNORED_LABEL) -> Array | None:
    if labels is None:
        return None
    labels = labels.reshape(-1)
    counted = labels != ignored
    logits = logits.reshape(-1, logits.shape[-1]).astype(jnp.promote_types(logits.dtype, jnp.float32))
    chosen = jnp.take_along_axis(logits, jnp.where(counted, labels, 0)[:, None], axis=-1)[:, 0]
    losses = jnp.where(counted, jax.nn.logsumexp(logits, axis=-1) - chosen, 0.0)
    return losses.sum() / jnp.maximum(counted.sum(), 1).astype(losses.dtype)


def sequence_loss(config: AlbertConfig, logits: Array, labels: Array | None) -> Array | None:
    kind = None if labels is None else problem_type(config, labels)
    if labels is None or kind == "single_label_classification":
        return cross_entropy(logits, labels)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    labels = labels.astype(logits.dtype).reshape(logits.shape)
    if kind == "multi_label_classification":
        return (jax.nn.softplus(logits) - logits * labels).mean()
    return jnp.square(logits - labels).mean()


def span_loss(start_logits: Array, end_logits: Array, start: Array | None, end: Array | None) -> Array | None:
    if start is None or end is None:
        return None
    length = start_logits.shape[1]
    ends = ((start_logits, start), (end_logits, end))
    return sum(cross_entropy(logits, place.clip(0, length), ignored=length) for logits, place in ends) / 2

"""The losses of the heads, in float32 or wider."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from albert_core.numerics import IGNORED_LABEL


def cross_entropy(logits: Array, labels: Array | None, ignored: int = IGNORED_LABEL) -> Array | None:
    """Mean over the labels that are not ignored, 0 when all are; None without labels."""
    if labels is None:
        return None
    labels = labels.reshape(-1)
    counted = labels != ignored
    logits = logits.reshape(-1, logits.shape[-1]).astype(jnp.promote_types(logits.dtype, jnp.float32))
    chosen = jnp.take_along_axis(logits, jnp.where(counted, labels, 0)[:, None], axis=-1)[:, 0]
    losses = jnp.where(counted, jax.nn.logsumexp(logits, axis=-1) - chosen, 0.0)
    return losses.sum() / jnp.maximum(counted.sum(), 1)

"""What the layers are made of: activations, and tables, linear maps and norms whose weights start at zero."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from albert_core.config import AlbertConfig
from albert_core.numerics import activation

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
linear = partial(nnx.Linear, kernel_init=_zeros, bias_init=_zeros)
embedding = partial(nnx.Embed, embedding_init=_zeros)


def layer_norm(config: AlbertConfig, width: int, **how: Any) -> nnx.LayerNorm:
    """A layer norm whose statistics are taken in two passes, in float32 or wider."""
    return nnx.LayerNorm(width, epsilon=config.layer_norm_eps, use_fast_variance=False, **how)


def is_plain(module: nnx.Module, kind: type[nnx.Module] = nnx.Linear) -> bool:
    """Whether a product with the module's kernel and its bias, or rows of a table, are all that calling it gives."""
    if type(module) is not nnx.Linear:
        return type(module) is kind is nnx.Embed  # a subclass does more
    return kind is nnx.Linear and module.use_bias and module.dot_general is jax.lax.dot_general


def as_rows(x: Array) -> Array:
    """[B, S, W] as [B * S, W]: XLA's matrix products on a CPU take no sum over two axes, as a weight's gradient is."""
    return x.reshape(-1, x.shape[-1])


def is_active(dropout: nnx.Dropout) -> bool:
    return dropout.rate > 0 and not dropout.deterministic


def key_at(keys: Array | None, place: int) -> Array | None:
    return None if keys is None else keys[place]

"""The optimizers of `albert_core.recipes` for optax."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from albert_core.recipes import (
    BETAS,
    EPSILON,
    WEIGHT_DECAY,
    PretrainingRecipe,
    adamw_update,
    decays,
    lamb_update,
)

__all__ = ["AdamState", "adamw", "lamb", "make_optimizer"]


class AdamState(NamedTuple):
    """Steps taken, and both moments in the structure of the parameters."""

    step: jax.Array
    m: Any
    v: Any


def adamw(
    lr: optax.ScalarOrSchedule,
    *,
    betas: tuple[float, float] = BETAS,
    eps: float = EPSILON,
    weight_decay: float = WEIGHT_DECAY,
    bias_correction: bool = False,
) -> optax.GradientTransformation:
    """`albert_core.recipes.adamw_update` as an optax transformation."""
    return _by_name(lambda adapt: adamw_update, lr, betas, eps, weight_decay, bias_correction)


def lamb(
    lr: optax.ScalarOrSchedule,
    *,
    betas: tuple[float, float] = BETAS,
    eps: float = EPSILON,
    weight_decay: float = WEIGHT_DECAY,
    bias_correction: bool = False,
) -> optax.GradientTransformation:
    """`albert_core.recipes.lamb_update` as an optax transformation."""
    return _by_name(lambda adapt: partial(lamb_update, adapt=adapt), lr, betas, eps, weight_decay, bias_correction)


def _by_name(
    rule_for: Any,
    lr: optax.ScalarOrSchedule,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    bias_correction: bool,
) -> optax.GradientTransformation:
    """A transformation that knows parameters by name, and so which of them decay.

    Its `update` takes the learning rate of one step, `rate`, over its own.
    """

    def init(params: Any) -> AdamState:
        m, v = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))  # not one: a step gives both away
        return AdamState(jnp.zeros((), jnp.int32), m, v)

    def update(
        gradients: Any, state: AdamState, params: Any = None, *, rate: Any = None, **extra: Any
    ) -> tuple[Any, AdamState]:
        step = state.step + 1
        if rate is None:
            rate = lr(state.step) if callable(lr) else lr

        def one(path: Any, p: Any, g: Any, m: Any, v: Any) -> tuple[Any, Any, Any]:
            decaying = decays(jax.tree_util.keystr(path))
            new, m, v = rule_for(decaying)(
                jnp,
                p,
                g,
                m,
                v,
                lr=rate,
                beta1=betas[0],
                beta2=betas[1],
                epsilon=eps,
                weight_decay=weight_decay if decaying else 0.0,
                bias_correction=bias_correction,
                step=step,
            )
            return new - p, m, v  # exact where p moves by less than half of itself, as the caller adds it again

        found = jax.tree_util.tree_map_with_path(one, params, gradients, state.m, state.v)
        moved, m, v = jax.tree.transpose(jax.tree.structure(params), jax.tree.structure((0, 0, 0)), found)
        return moved, AdamState(step, m, v)

    return optax.GradientTransformationExtraArgs(init, update)


@lru_cache  # the same object for the same recipe, so that a compiled step serves every trainer of it
def make_optimizer(recipe: PretrainingRecipe) -> optax.GradientTransformation:
    """What a recipe names, as an optax transformation."""

    def schedule(step: jax.Array) -> jax.Array:
        return recipe.rate(jnp, step.astype(jnp.result_type(float)))  # an integer would be divided in 32 bits

    return {"lamb": lamb, "adamw": adamw}[recipe.optimizer](
        schedule,
        **recipe.optimizer_options(),
    )

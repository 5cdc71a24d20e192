"""Pretraining in JAX: the compiled step that `albert_core.training` calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from albert_core import trainer
from albert_core.config import AlbertConfig
from albert_core.loss_scale import LossScale, next_loss_scale
from albert_core.numerics import IGNORED_LABEL
from albert_core.parameters import Parameter
from albert_core.recipes import PretrainingRecipe, clip_by_global_norm
from albert_core.trainer import Part, StepMetrics
from albert_core.training import evaluate, pretrain
from albert_core.walker import LAYOUTS, find
from albert_flax.functional import seed_dropout
from albert_flax.losses import cross_entropy
from albert_flax.models import FlaxAlbertForPreTraining
from albert_flax.optim import AdamState, make_optimizer
from albert_flax.placement import find_device

__all__ = ["Trainer", "evaluate", "pretrain"]


class Trainer(trainer.Trainer):
    model_class = FlaxAlbertForPreTraining

    def __init__(
        self,
        config: AlbertConfig,
        recipe: PretrainingRecipe,
        *,
        device: Any = None,
        dtype: str = "float32",
        autocast: str | None = None,
    ) -> None:
        self.recipe, self.optimizer, self.loss_scale = recipe, make_optimizer(recipe), self._first_scale(autocast)
        self.model = self.model_class(config, dtype=autocast or dtype, param_dtype=dtype)
        self.model.train()
        self.state = self.optimizer.init(nnx.state(self.model, nnx.Param))
        if device is not None:  # all of it, or the second step would be compiled anew
            place = find_device(device)
            nnx.update(self.model, jax.device_put(nnx.state(self.model), place))
            self.state = jax.device_put(self.state, place)

    def step(self, parts: Sequence[Part], step: int) -> StepMetrics:
        parameters, self.state, self.loss_scale, metrics = _step(*self._arguments(parts, step))
        nnx.update(self.model, parameters)
        return metrics

    def lower(self, parts: Sequence[Part]) -> jax.stages.Lowered:
        """The program of a step on such parts: its HLO, its cost, its memory."""
        return _step.lower(*self._arguments(parts, 0))

    def _arguments(self, parts: Sequence[Part], step: int) -> tuple[Any, ...]:
        self._seed(step)
        structure, parameters, rest = nnx.split(self.model, nnx.Param, ...)
        given = jax.tree.map(lambda a: a.astype(np.int32) if a.dtype == np.int64 else a, list(parts))
        fixed = structure, self.optimizer, self.recipe.max_gradient_norm
        return *fixed, parameters, self.state, rest, given, self.loss_scale, self.rate(step)

    def _seed(self, step: int) -> None:
        """Dropout as a function of the step, for resumes."""
        seed_dropout(self.model, jax.random.fold_in(jax.random.key(self.recipe.seed), step))

    def get_moment(self, kind: str, parameter: Parameter) -> np.ndarray:
        return np.asarray(self._leaf(getattr(self.state, kind), parameter)[...])

    def set_moments(self, moments: Mapping[str, np.ndarray], step: int) -> None:
        for kind in trainer.MOMENTS:
            tree = getattr(self.state, kind)
            for p in self.model.own_parameters():
                self._leaf(tree, p)[...] = jnp.asarray(moments[f"{kind}.{p.name}"])
        self.state = AdamState(jnp.asarray(step, jnp.int32), self.state.m, self.state.v)

    def _leaf(self, tree: Any, parameter: Parameter) -> Any:
        """A parameter's entry in a state of the parameters' structure."""
        return find(_Path(tree), parameter, LAYOUTS["flax"]).value

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        self.model.eval()
        try:
            yield
        finally:
            self.model.train()


class _Path:
    """A state, walked by attributes and indices as the model is."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __getitem__(self, key: Any) -> Any:
        found = self.tree[key]
        return found if hasattr(found, "shape") or isinstance(found, nnx.Variable) else _Path(found)


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=(3, 4))
def _step(
    structure: nnx.GraphDef,
    optimizer: Any,
    limit: float,
    parameters: Any,
    state: AdamState,
    rest: Any,
    parts: Sequence[Part],
    loss_scale: LossScale | None,
    rate: Any,
) -> tuple[Any, AdamState, LossScale | None, StepMetrics]:
    metrics, gradients = _gradients(structure, parameters, rest, parts, loss_scale)
    moved = _apply(optimizer, limit, parameters, state, gradients, loss_scale, rate)
    return *moved, metrics


def _gradients(
    structure: nnx.GraphDef, parameters: Any, rest: Any, parts: Sequence[Part], loss_scale: LossScale | None
) -> tuple[StepMetrics, Any]:
    """The sum over the parts, one after the other, times the loss scale."""

    def loss_of(parameters: Any, part: Part) -> tuple[jax.Array, StepMetrics]:
        out = nnx.merge(structure, parameters, rest, copy=True)(**part.inputs)  # its dropout counts are its own
        masked = cross_entropy(out.prediction_logits, part.labels)
        swapped = cross_entropy(out.sop_logits, part.order)
        loss = masked * part.masked_share + swapped * part.order_share
        right = accuracy(out.prediction_logits, part.labels), accuracy(out.sop_logits, part.order)
        metrics = StepMetrics(loss, right[0] * part.masked_share, right[1] * part.order_share)
        return (loss if loss_scale is None else loss * loss_scale.scale), metrics

    total = None
    for part in parts:
        (_, metrics), gradients = jax.value_and_grad(loss_of, has_aux=True)(parameters, part)
        found = metrics, gradients
        total = found if total is None else jax.tree.map(jnp.add, total, found)
    return total


def _apply(
    optimizer: Any,
    limit: float,
    parameters: Any,
    state: AdamState,
    gradients: Any,
    loss_scale: LossScale | None,
    rate: Any,
) -> tuple[Any, AdamState, LossScale | None]:
    """Clip and update; with a loss scale only where the gradients are finite."""
    leaves, tree = jax.tree.flatten(gradients)
    if loss_scale is not None:
        leaves = [g / loss_scale.scale for g in leaves]
    clipped, norm = clip_by_global_norm(jnp, leaves, limit)
    moved, new = optimizer.update(jax.tree.unflatten(tree, clipped), state, parameters, rate=rate)
    found = optax.apply_updates(parameters, moved), new
    if loss_scale is None:
        return *found, None
    finite = jnp.isfinite(norm)
    kept = jax.tree.map(partial(jnp.where, finite), found, (parameters, state))
    return *kept, next_loss_scale(jnp, loss_scale, finite)


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Share of the counted labels that have the highest logit."""
    counted = labels != IGNORED_LABEL
    return ((logits.argmax(-1) == labels) & counted).sum() / jnp.maximum(counted.sum(), 1)

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

from albert_core import training
from albert_core.config import AlbertConfig
from albert_core.parameters import Parameter
from albert_core.recipes import PretrainingRecipe, clip_by_global_norm
from albert_core.training import Part, evaluate, pretrain
from albert_core.walker import LAYOUTS, find
from albert_flax.base import _find_device
from albert_flax.losses import cross_entropy
from albert_flax.models import FlaxAlbertForPreTraining
from albert_flax.optim import AdamState, make_optimizer

__all__ = ["Trainer", "evaluate", "pretrain"]


class Trainer(training.Trainer):
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
        self.recipe, self.optimizer = recipe, make_optimizer(recipe)
        self.model = self.model_class(config, dtype=autocast or dtype, param_dtype=dtype)
        if device is not None:
            nnx.update(self.model, jax.device_put(nnx.state(self.model), _find_device(device)))
        self.model.train()
        self.state = self.optimizer.init(nnx.state(self.model, nnx.Param))

    def step(self, parts: Sequence[Part], step: int) -> jax.Array:
        self._seed(step)
        structure, parameters, rest = nnx.split(self.model, nnx.Param, ...)
        given = [(p.inputs, p.labels, p.order, p.masked_share, p.order_share) for p in parts]
        given = jax.tree.map(lambda a: a.astype(np.int32) if isinstance(a, np.ndarray) else a, given)
        limit = self.recipe.max_gradient_norm
        parameters, self.state, loss = _step(structure, self.optimizer, limit, parameters, self.state, rest, given)
        nnx.update(self.model, parameters)
        return loss

    def _seed(self, step: int) -> None:
        """Dropout as a function of the step, for resumes: a key of its own for each stream, counted from zero."""
        key = jax.random.fold_in(jax.random.key(self.recipe.seed), step)
        streams = [node for _, node in nnx.iter_graph(self.model) if isinstance(node, nnx.RngStream)]
        for number, stream in enumerate(streams):
            stream.key[...] = jax.random.fold_in(key, number)
            stream.count[...] = jnp.zeros_like(stream.count[...])

    def get_moment(self, kind: str, parameter: Parameter) -> np.ndarray:
        return np.asarray(self._leaf(getattr(self.state, kind), parameter)[...])

    def set_moments(self, moments: Mapping[str, np.ndarray], step: int) -> None:
        for kind in training.MOMENTS:
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
    structure: nnx.GraphDef, optimizer: Any, limit: float, parameters: Any, state: AdamState, rest: Any, parts: Any
) -> tuple[Any, AdamState, jax.Array]:
    """One update; the parts' gradients are added up one after the other."""

    def loss_of(parameters: Any, part: Any) -> jax.Array:
        inputs, labels, order, masked_share, order_share = part
        out = nnx.merge(structure, parameters, rest, copy=True)(**inputs)  # its dropout counts are its own
        masked = cross_entropy(out.prediction_logits, labels) * masked_share
        return masked + cross_entropy(out.sop_logits, order) * order_share

    loss, gradients = jnp.zeros(()), None
    for part in parts:
        value, found = jax.value_and_grad(loss_of)(parameters, part)
        loss, gradients = loss + value, found if gradients is None else jax.tree.map(jnp.add, gradients, found)
    leaves, tree = jax.tree.flatten(gradients)
    clipped, _ = clip_by_global_norm(jnp, leaves, limit)
    moved, state = optimizer.update(jax.tree.unflatten(tree, clipped), state, parameters)
    return optax.apply_updates(parameters, moved), state, loss

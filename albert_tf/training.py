"""Pretraining in TensorFlow: the compiled step that `albert_core.training` calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from albert_core import training
from albert_core.config import AlbertConfig
from albert_core.parameters import Parameter
from albert_core.recipes import PretrainingRecipe, clip_by_global_norm
from albert_core.training import Part, evaluate, pretrain
from albert_tf.base import _device_name
from albert_tf.losses import cross_entropy
from albert_tf.models import TFAlbertForPreTraining
from albert_tf.optim import _XP, make_optimizer

__all__ = ["Trainer", "evaluate", "pretrain"]


class Trainer(training.Trainer):
    model_class = TFAlbertForPreTraining

    def __init__(
        self,
        config: AlbertConfig,
        recipe: PretrainingRecipe,
        *,
        device: Any = None,
        dtype: str = "float32",
        autocast: str | None = None,
    ) -> None:
        self.recipe = recipe
        with keras.device(_device_name(device)) if device is not None else nullcontext():
            self.model = self.model_class(config, dtype=f"mixed_{autocast}" if autocast else dtype)
            self.optimizer = make_optimizer(recipe)
            self.optimizer.build(self.model.trainable_variables)
        self._compiled = tf.function(self._update, reduce_retracing=True)

    def step(self, parts: Sequence[Part], step: int) -> tf.Tensor:
        self._seed(step)
        given = [(p.inputs, p.labels, p.order, p.masked_share, p.order_share) for p in parts]
        return self._compiled(
            tf.nest.map_structure(tf.convert_to_tensor, given), tf.constant(self.rate(step), tf.float64)
        )

    def _update(self, parts: Any, rate: tf.Tensor) -> tf.Tensor:
        variables = [variable.value for variable in self.model.trainable_variables]
        losses, gradients = [], None
        for part in parts:
            with tf.GradientTape() as tape:
                loss = self._loss(*part)
            found = [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]
            gradients = found if gradients is None else [a + b for a, b in zip(gradients, found, strict=True)]
            losses.append(loss)
        clipped, _ = clip_by_global_norm(_XP, gradients, self.recipe.max_gradient_norm)
        for gradient, variable in zip(clipped, self.model.trainable_variables, strict=True):
            self.optimizer.update_step(gradient, variable, rate)
        self.optimizer.iterations.assign_add(1)
        return tf.add_n(losses)

    def _loss(self, inputs: Any, labels: Any, order: Any, masked_share: Any, order_share: Any) -> tf.Tensor:
        out = self.model(**inputs, training=True)
        masked, swapped = cross_entropy(out.prediction_logits, labels), cross_entropy(out.sop_logits, order)
        return masked * tf.cast(masked_share, masked.dtype) + swapped * tf.cast(order_share, swapped.dtype)

    def _seed(self, step: int) -> None:
        """Dropout as a function of the step, for resumes: a seed of its own for each generator."""
        generators = [x for x in self.model.non_trainable_variables if "seed_generator_state" in x.path]
        drawn = np.random.default_rng([self.recipe.seed, step]).integers(0, 2**31, (len(generators), 2))
        for variable, seed in zip(generators, drawn, strict=True):
            variable.assign(seed.astype(variable.dtype))

    def get_moment(self, kind: str, parameter: Parameter) -> np.ndarray:
        return np.asarray(self._slot(kind, parameter).value)

    def set_moments(self, moments: Mapping[str, np.ndarray], step: int) -> None:
        for kind in training.MOMENTS:
            for p in self.model.own_parameters():
                self._slot(kind, p).assign(moments[f"{kind}.{p.name}"])
        self.optimizer.iterations.assign(step)

    def _slot(self, kind: str, parameter: Parameter) -> keras.Variable:
        place = self.optimizer._get_variable_index(self.model.leaf(parameter).value)
        return getattr(self.optimizer, kind)[place]

    def evaluating(self) -> AbstractContextManager[None]:
        return nullcontext()  # a Keras model is told with each call

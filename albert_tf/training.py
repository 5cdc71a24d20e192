"""Pretraining in TensorFlow: the compiled step that `albert_core.training` calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from albert_core import trainer
from albert_core.config import AlbertConfig
from albert_core.loss_scale import LossScale, next_loss_scale
from albert_core.numerics import IGNORED_LABEL
from albert_core.parameters import Parameter
from albert_core.recipes import PretrainingRecipe, clip_by_global_norm
from albert_core.trainer import Part, StepMetrics
from albert_core.training import evaluate, pretrain
from albert_tf.losses import cross_entropy
from albert_tf.models import TFAlbertForPreTraining
from albert_tf.optim import make_optimizer
from albert_tf.placement import find_device

__all__ = ["Trainer", "evaluate", "pretrain"]


class Trainer(trainer.Trainer):
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
        self.recipe, self.loss_scale = recipe, self._first_scale(autocast)
        with keras.device(find_device(device)) if device is not None else nullcontext():
            self.model = self.model_class(config, dtype=f"mixed_{autocast}" if autocast else dtype)
            self.optimizer = make_optimizer(recipe)
            self.optimizer.build(self.model.trainable_variables)
        self._compiled = tf.function(self._step, reduce_retracing=True)

    def step(self, parts: Sequence[Part], step: int) -> StepMetrics:
        self._seed(step)
        given = tf.nest.map_structure(tf.convert_to_tensor, list(parts))
        rate = tf.constant(self.rate(step), tf.float64)
        metrics, self.loss_scale = self._compiled(given, self.loss_scale, rate)
        return metrics

    def _seed(self, step: int) -> None:
        """Dropout as a function of the step, for resumes: a seed of its own for each generator."""
        generators = self._generators()
        drawn = np.random.default_rng([self.recipe.seed, step]).integers(0, 2**31, (len(generators), 2))
        for variable, seed in zip(generators, drawn, strict=True):
            variable.assign(seed.astype(variable.dtype))

    def _generators(self) -> list[keras.Variable]:
        return [x for x in self.model.non_trainable_variables if "seed_generator_state" in x.path]

    def _step(
        self, parts: Sequence[Part], loss_scale: LossScale | None, rate: tf.Tensor
    ) -> tuple[StepMetrics, LossScale | None]:
        metrics, gradients = self._gradients(parts, loss_scale)
        return metrics, self._apply(gradients, loss_scale, rate)

    def _gradients(self, parts: Sequence[Part], loss_scale: LossScale | None) -> tuple[StepMetrics, list[tf.Tensor]]:
        """The sum over the parts, times the loss scale."""
        found = [self._backward(part, loss_scale) for part in parts]
        metrics = StepMetrics(*(tf.add_n(values) for values in zip(*(metrics for metrics, _ in found), strict=True)))
        return metrics, [tf.add_n(values) for values in zip(*(gradients for _, gradients in found), strict=True)]

    def _backward(self, part: Part, loss_scale: LossScale | None) -> tuple[StepMetrics, list[tf.Tensor]]:
        variables = [variable.value for variable in self.model.trainable_variables]
        with tf.GradientTape() as tape:
            out = self.model(**part.inputs, training=True)
            masked = cross_entropy(out.prediction_logits, part.labels)
            swapped = cross_entropy(out.sop_logits, part.order)
            shares = [tf.cast(share, masked.dtype) for share in (part.masked_share, part.order_share)]
            loss = masked * shares[0] + swapped * shares[1]
            scaled = loss if loss_scale is None else loss * tf.cast(loss_scale.scale, loss.dtype)
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(scaled, variables)]
        right = accuracy(out.prediction_logits, part.labels), accuracy(out.sop_logits, part.order)
        metrics = StepMetrics(loss, *(tf.cast(r, loss.dtype) * share for r, share in zip(right, shares, strict=True)))
        return metrics, gradients

    def _apply(self, gradients: list[tf.Tensor], loss_scale: LossScale | None, rate: tf.Tensor) -> LossScale | None:
        """Clip and update; with a loss scale only where the gradients are finite."""
        if loss_scale is not None:
            gradients = [g / tf.cast(loss_scale.scale, g.dtype) for g in gradients]
        clipped, norm = clip_by_global_norm(ops, gradients, self.recipe.max_gradient_norm)
        if loss_scale is None:
            self._update(clipped, rate)
            return None
        finite = tf.math.is_finite(norm)
        tf.cond(finite, lambda: self._update(clipped, rate), lambda: None)
        return next_loss_scale(ops, loss_scale, finite)

    def _update(self, gradients: list[tf.Tensor], rate: tf.Tensor) -> None:
        for gradient, variable in zip(gradients, self.model.trainable_variables, strict=True):
            self.optimizer.update_step(gradient, variable, rate)
        self.optimizer.iterations.assign_add(1)

    def get_moment(self, kind: str, parameter: Parameter) -> np.ndarray:
        return np.asarray(self._slot(kind, parameter).value)

    def set_moments(self, moments: Mapping[str, np.ndarray], step: int) -> None:
        for kind in trainer.MOMENTS:
            for p in self.model.own_parameters():
                self._slot(kind, p).assign(moments[f"{kind}.{p.name}"])
        self.optimizer.iterations.assign(step)

    def _slot(self, kind: str, parameter: Parameter) -> keras.Variable:
        place = self.optimizer._get_variable_index(self.model.leaf(parameter).value)
        return getattr(self.optimizer, kind)[place]

    def evaluating(self) -> AbstractContextManager[None]:
        return nullcontext()  # a Keras model is told with each call


def accuracy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Share of the counted labels that have the highest logit, in float64."""
    counted = tf.not_equal(labels, IGNORED_LABEL)
    right = tf.equal(tf.argmax(logits, -1, labels.dtype), labels) & counted
    count = tf.reduce_sum(tf.cast(counted, tf.float64))
    return tf.reduce_sum(tf.cast(right, tf.float64)) / tf.maximum(count, 1.0)

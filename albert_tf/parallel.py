"""Pretraining over several devices with `tf.distribute`: every replica takes its parts of each batch.

The gradients of all replicas are summed once per step. What a `tf.distribute` strategy gives decides the rest: weights
and optimizer state are mirrored, and the update is computed once for each host. Several hosts each run the same
program with TF_CONFIG set; the strategy is made before any other use of TensorFlow. Source:
https://www.tensorflow.org/guide/distributed_training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from albert_core.config import AlbertConfig
from albert_core.loss_scale import LossScale
from albert_core.recipes import PretrainingRecipe
from albert_core.trainer import Part, StepMetrics, dealt
from albert_tf.training import Trainer

__all__ = ["ParallelTrainer"]


class ParallelTrainer(Trainer):
    """A `Trainer` whose step runs on every replica of a strategy; its numbers are those of one device.

    Args:
        config: The model.
        recipe: Optimizer and its settings.
        device: A `tf.distribute` strategy, or the devices to mirror on; all devices of this host when None.
        dtype: What weights and moments are kept in.
        autocast: As in `Trainer`.

    Attributes:
        shards: Replicas. Of parts that are a multiple of this, each replica takes its own; others are cut further.
    """

    def __init__(
        self,
        config: AlbertConfig,
        recipe: PretrainingRecipe,
        *,
        device: Any = None,
        dtype: str = "float32",
        autocast: str | None = None,
    ) -> None:
        given = isinstance(device, tf.distribute.Strategy)
        self.strategy = device if given else tf.distribute.MirroredStrategy(device)
        with self.strategy.scope():
            super().__init__(config, recipe, dtype=dtype, autocast=autocast)
        self.shards = self.strategy.num_replicas_in_sync
        cluster = self.strategy.cluster_resolver
        self.process = 0 if cluster is None else cluster.task_id or 0
        self.writes = self.process == 0

    def step(self, parts: Sequence[Part], step: int) -> StepMetrics:
        self._seed(step)
        shares = dealt(parts, self.shards)

        def own(context: tf.distribute.distribute_lib.ValueContext) -> list[Part]:
            return tf.nest.map_structure(tf.convert_to_tensor, shares[context.replica_id_in_sync_group])

        given = self.strategy.experimental_distribute_values_from_function(own)
        with self.strategy.scope():
            metrics, self.loss_scale = self._compiled(given, self.loss_scale, tf.constant(self.rate(step), tf.float64))
        return metrics

    def _seed(self, step: int) -> None:
        """As in `Trainer`, and another for each replica: `tf.distribute` would give all the same dropout."""
        super()._seed(step)
        for variable in self._generators():
            local = self.strategy.experimental_local_results(variable.value)
            for place, seed in enumerate(local, self.process * len(local)):
                seed.assign_add([place, 0])

    def agree(self, code: int) -> int:
        said = self.strategy.experimental_distribute_values_from_function(lambda context: tf.constant([code]))
        return int(tf.reduce_max(self.strategy.gather(said, axis=0)))

    def _gradients(self, parts: Any, loss_scale: LossScale | None) -> tuple[StepMetrics, list[tf.Tensor]]:
        """The sum over all replicas, the same on each."""
        found = self.strategy.run(self._summed, args=(parts, loss_scale))
        return tf.nest.map_structure(lambda value: self.strategy.experimental_local_results(value)[0], found)

    def _summed(self, parts: Sequence[Part], loss_scale: LossScale | None) -> tuple[StepMetrics, list[tf.Tensor]]:
        found = super()._gradients(parts, loss_scale)
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, found)

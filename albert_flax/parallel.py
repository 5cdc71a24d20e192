"""Pretraining over the devices of one host or of several: every device takes its parts of each batch.

The gradients of all devices are summed once per step, outside the loop over the layers, and each device keeps and
updates its share of the optimizer's state (ZeRO-1, https://arxiv.org/abs/1910.02054). Several hosts each run the same
program, after `jax.distributed.initialize()` and before any other use of JAX.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from albert_core.config import AlbertConfig
from albert_core.loss_scale import LossScale
from albert_core.numerics import IGNORED_LABEL
from albert_core.parameters import Parameter
from albert_core.recipes import PretrainingRecipe
from albert_core.trainer import MOMENTS, Part, StepMetrics, dealt
from albert_flax.optim import AdamState
from albert_flax.placement import put
from albert_flax.training import Trainer, _apply, _gradients

__all__ = [
    "AXIS",
    "ParallelTrainer",
    "Streams",
    "data_mesh",
    "mesh_of",
    "parallel_step",
    "shares",
    "stack_parts",
    "streams_of",
]

AXIS = "data"
EVERYWHERE, BY_PART = PartitionSpec(), PartitionSpec(AXIS)


def data_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh with one axis, "data", over the given devices or all devices of all hosts."""
    return Mesh(np.array(jax.devices() if devices is None else devices), (AXIS,), axis_types=(AxisType.Auto,))


def mesh_of(device: Any) -> Mesh:
    """The mesh of what `ParallelTrainer` takes; of a mesh the devices alone, as JAX makes its axis explicit."""
    if device is None or isinstance(device, str):
        return data_mesh(jax.devices(device))
    if isinstance(device, jax.Device):
        return data_mesh([device])
    if isinstance(device, list | tuple) and all(isinstance(one, jax.Device) for one in device) and device:
        return data_mesh(device)
    if isinstance(device, Mesh) and len(device.axis_names) == 1:
        return data_mesh(device.devices)
    came = f"a mesh of axes {dict(device.shape)}" if isinstance(device, Mesh) else repr(device)
    raise ValueError(f"device: expected a mesh of one axis, devices, or a platform's name, got {came}")


class ParallelTrainer(Trainer):
    """A `Trainer` whose step runs on every device of a mesh; its numbers are those of one device.

    Args:
        config: The model.
        recipe: Optimizer and its settings.
        device: A mesh of one axis, some devices, one, or the name of a platform whose devices to take; all of them
            when None.
        dtype: What weights and moments are kept in.
        autocast: As in `Trainer`.

    Raises:
        ValueError: `device` is none of these.

    Attributes:
        shards: Devices. Of parts that are a multiple of this, each device takes its own; others are cut further.
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
        super().__init__(config, recipe, dtype=dtype, autocast=autocast)
        self.mesh = mesh_of(device)
        self.shards, self.writes = self.mesh.size, jax.process_index() == 0
        everywhere = NamedSharding(self.mesh, EVERYWHERE)
        nnx.update(self.model, jax.tree.map(lambda x: put(x, everywhere), nnx.state(self.model, nnx.Param)))
        self.state = jax.tree.map(put, self.state, _shardings(self.state, self.mesh))

    def step(self, parts: Sequence[Part], step: int) -> StepMetrics:
        parts = list(chain.from_iterable(dealt(parts, self.shards)))
        structure, parameters, rest = nnx.split(self.model, nnx.Param, ...)
        by_part = NamedSharding(self.mesh, BY_PART)
        given = jax.tree.map(lambda array: put(array, by_part), stack_parts(parts))
        parameters, self.state, self.loss_scale, metrics = parallel_step(
            *(structure, streams_of(rest), self.optimizer, self.recipe.max_gradient_norm, self.mesh),
            *(parameters, self.state, given, self.loss_scale, self.rate(step)),
            np.array([self.recipe.seed, step], np.uint32),
        )
        nnx.update(self.model, parameters)
        return metrics

    def agree(self, code: int) -> int:
        if jax.process_count() == 1:
            return code
        return int(process_allgather(np.int32(code)).max())

    def get_moment(self, kind: str, parameter: Parameter) -> np.ndarray:
        """As in `Trainer`; every process has to ask for the same ones in the same order."""
        return np.asarray(_whole(self._leaf(getattr(self.state, kind), parameter)[...], self.mesh))

    def set_moments(self, moments: Any, step: int) -> None:
        for kind in MOMENTS:
            for p in self.model.own_parameters():
                leaf = self._leaf(getattr(self.state, kind), p)
                leaf.set_value(put(moments[f"{kind}.{p.name}"], leaf.get_value().sharding))
        self.state = AdamState(put(np.int32(step), self.state.step.sharding), self.state.m, self.state.v)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The model without dropout, on one device of this process."""
        parameters = nnx.state(self.model, nnx.Param)
        nnx.update(self.model, jax.tree.map(lambda array: array.addressable_data(0), parameters))
        try:
            with super().evaluating():
                yield
        finally:
            nnx.update(self.model, parameters)


class Streams(NamedTuple):
    """The random streams of a model, as what a compiled step can be looked up by.

    Attributes:
        structure: Of the state that holds them.
        are_keys: Which of its leaves are keys; the others count.
    """

    structure: Any
    are_keys: tuple[bool, ...]

    def drawn(self, key: jax.Array) -> nnx.State:
        """With a key of its own for each, counted from zero."""
        zero = jnp.zeros((), jnp.uint32)
        leaves = [jax.random.fold_in(key, n) if is_key else zero for n, is_key in enumerate(self.are_keys)]
        return jax.tree.unflatten(self.structure, leaves)


def streams_of(rest: nnx.State) -> Streams:
    """What of a model is neither structure nor parameter."""
    leaves, structure = jax.tree.flatten(rest)
    return Streams(structure, tuple(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves))


def stack_parts(parts: Sequence[Part]) -> Part:
    """Parts as one with an axis in front; rows that only some have are filled up with rows that count nothing."""
    rows = max(len(part.labels) for part in parts)

    def stacked(*arrays: Any) -> np.ndarray:
        if not np.ndim(arrays[0]):
            return np.array(arrays, jnp.result_type(float))
        fill = [np.pad(a, [(0, rows - len(a))] + [(0, 0)] * (a.ndim - 1)) for a in arrays]
        return np.stack(fill).astype(np.int32)

    found = jax.tree.map(stacked, *parts)
    real = np.array([np.arange(rows) < len(part.labels) for part in parts])  # [parts, rows]
    labels = np.where(real[..., None], found.labels, np.int32(IGNORED_LABEL))
    return found._replace(labels=labels, order=np.where(real, found.order, np.int32(IGNORED_LABEL)))


def shares(tree: Any, size: int) -> Any:
    """Over which axis each array of the optimizer's state is cut in `size`; those that no axis allows are whole."""

    def one(array: Any) -> PartitionSpec:
        axis = next((axis for axis, length in enumerate(array.shape) if length and length % size == 0), None)
        return EVERYWHERE if axis is None else PartitionSpec(*[None] * axis, AXIS)

    return jax.tree.map(one, tree)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4), donate_argnums=(5, 6))
def parallel_step(
    structure: nnx.GraphDef,
    streams: Streams,
    optimizer: Any,
    limit: float,
    mesh: Mesh,
    parameters: Any,
    state: AdamState,
    parts: Part,
    loss_scale: LossScale | None,
    rate: Any,
    seed: jax.Array,
) -> tuple[Any, AdamState, LossScale | None, StepMetrics]:
    """One update on every device of a mesh.

    Args:
        structure: The model without its arrays.
        streams: Its random streams.
        optimizer: As of `albert_flax.optim`.
        limit: Greatest norm of the gradients.
        mesh: The devices.
        parameters: The same on each device.
        state: Cut as `shares` says.
        parts: Of `stack_parts`; each device has its own.
        loss_scale: As in `Trainer`.
        rate: The learning rate.
        seed: The recipe's seed and the number of the step; decide the dropout, which differs between devices.
    """
    cut = shares(parameters, mesh.size)
    local = jax.shard_map(
        partial(_shard, structure, streams),
        mesh=mesh,
        in_specs=(EVERYWHERE, BY_PART, EVERYWHERE, EVERYWHERE),
        out_specs=(EVERYWHERE, cut),
    )
    metrics, gradients = local(parameters, parts, loss_scale, seed)
    parameters, state, loss_scale = _apply(optimizer, limit, parameters, state, gradients, loss_scale, rate)
    parameters = jax.lax.with_sharding_constraint(parameters, NamedSharding(mesh, EVERYWHERE))
    state = jax.lax.with_sharding_constraint(state, _shardings(state, mesh))
    return parameters, state, loss_scale, metrics


def _shard(
    structure: nnx.GraphDef, streams: Streams, parameters: Any, parts: Part, loss_scale: Any, seed: jax.Array
) -> tuple[StepMetrics, Any]:
    """The sums over all devices: of the metrics whole, of the gradients this device's share."""
    cut = shares(parameters, jax.lax.axis_size(AXIS))
    # Each device's own from here on: else every turn of the loop over the layers would sum over the devices.
    parameters = jax.tree.map(lambda x: jax.lax.pcast(x, AXIS, to="varying"), parameters)
    own = [jax.tree.map(lambda array, n=n: array[n], parts) for n in range(len(parts.labels))]
    metrics, gradients = _gradients(structure, parameters, streams.drawn(_device_key(seed)), own, loss_scale)
    return jax.lax.psum(metrics, AXIS), jax.tree.map(_summed, gradients, cut)


def _device_key(seed: jax.Array) -> jax.Array:
    """Of one step on one device, as no two devices are to drop the same."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed[0]), seed[1]), jax.lax.axis_index(AXIS))


def _summed(gradient: jax.Array, cut: PartitionSpec) -> jax.Array:
    if cut == EVERYWHERE:
        return jax.lax.psum(gradient, AXIS)
    return jax.lax.psum_scatter(gradient, AXIS, scatter_dimension=len(cut) - 1, tiled=True)


def _shardings(tree: Any, mesh: Mesh) -> Any:
    return jax.tree.map(partial(NamedSharding, mesh), shares(tree, mesh.size))


def _whole(array: jax.Array, mesh: Mesh) -> jax.Array:
    return jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, EVERYWHERE))(array)

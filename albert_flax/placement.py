"""Where arrays go: devices and shardings, however they are named."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

__all__ = ["beside", "find_device", "put", "sharding_of"]


def find_device(device: Any) -> Any:
    """A JAX device or sharding as it is; 0 by number, "cpu" and "cuda:1" by name and number.

    Raises:
        ValueError: There is no such device here.
    """
    if not isinstance(device, str | int):
        return device
    platform, _, number = ("", "", device) if isinstance(device, int) else device.partition(":")
    try:
        return jax.devices(platform or None)[int(number or 0)]
    except (RuntimeError, IndexError, ValueError) as error:
        raise ValueError(f"device: expected one that JAX has here, got {device!r}") from error


def sharding_of(device: Any) -> Sharding | None:
    """Where a model's arrays go; None leaves it to JAX."""
    found = None if device in (None, "auto") else find_device(device)
    return SingleDeviceSharding(found) if isinstance(found, jax.Device) else found


def beside(old: nnx.Variable[Array], array: np.ndarray) -> Array:
    """An array where a variable's present one is; where JAX likes if nobody has said where that is to be."""
    current = old.get_value()
    return put(array, current.sharding if current.committed else None)


def put(array: Any, sharding: Sharding | None) -> Array:
    """An array where a sharding says, which may span processes that all hold the array; scalars go everywhere."""
    if isinstance(sharding, NamedSharding) and not array.shape:
        sharding = NamedSharding(sharding.mesh, PartitionSpec())
    if sharding is None or sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

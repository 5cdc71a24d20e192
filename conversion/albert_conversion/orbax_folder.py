"""An orbax checkpoint of an albert_flax model: a folder of zarr arrays in one OCDBT database.

Read with TensorStore, which needs no JAX; written with orbax itself. Source: `orbax/checkpoint` of
https://github.com/google/orbax and https://google.github.io/tensorstore/kvstore/ocdbt/.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from albert_conversion.extra import require
from albert_conversion.source import Source, Stored
from albert_core.errors import AlbertError, FormatError, ResourceLimit
from albert_core.strict_json import clip

__all__ = ["FOLDER_NAME", "is_orbax", "open_orbax", "write_orbax"]

FOLDER_NAME = "orbax"  # inside of the folder that a conversion writes, beside config.json
_MANIFEST, _METADATA = "manifest.ocdbt", "_METADATA"
_MAGIC = (0x0CDB3A2A).to_bytes(4, "big")  # of an OCDBT manifest
_DRIVERS = {"/.zarray": "zarr", "/zarr.json": "zarr3"}
_MAX_ARRAYS = 100_000


def is_orbax(folder: Path) -> bool:
    """Whether a folder is a committed orbax checkpoint."""
    manifest = folder / _MANIFEST
    if not manifest.is_file() or not (folder / _METADATA).is_file():
        return False
    with manifest.open("rb") as file:
        return file.read(4) == _MAGIC


def open_orbax(folder: Path) -> Source:
    """Open an orbax checkpoint.

    Raises:
        BackendMissing: TensorStore is not installed.
        FormatError: It is malformed or damaged, as far as TensorStore sees.
        ResourceLimit: It declares more arrays, or larger ones, than any model has.
    """
    tensorstore = require("tensorstore")
    base = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{folder.resolve()}/"}}
    try:
        keys = [key.decode() for key in tensorstore.KvStore.open(base).result().list().result()]
        found = {key.removesuffix(end): driver for key in keys for end, driver in _DRIVERS.items() if key.endswith(end)}
        if len(found) > _MAX_ARRAYS:
            raise ResourceLimit(folder, None, f"expected at most {_MAX_ARRAYS} arrays, got {len(found)}")
        tensors = {name: _stored(tensorstore, folder, base, name, driver) for name, driver in sorted(found.items())}
    except AlbertError:
        raise
    except Exception as error:  # TensorStore raises ValueError and RuntimeError of its own wording
        raise FormatError(folder, None, f"expected an orbax checkpoint, got: {clip(str(error))}") from None
    if not tensors:
        raise FormatError(folder, None, "expected an orbax checkpoint with arrays, got none")
    return Source("orbax", folder, tensors)


def _stored(tensorstore: Any, folder: Path, base: dict[str, Any], name: str, driver: str) -> Stored:
    spec = {"driver": driver, "kvstore": {**base, "path": f"{name}/"}}
    array = tensorstore.open(spec, open=True, read=True).result()
    shape, dtype = tuple(map(int, array.shape)), np.dtype(array.dtype.numpy_dtype)
    if math.prod(d for d in shape if d) >= 2**60:
        raise ResourceLimit(folder, clip(name), f"declares the shape {list(shape)}, beyond any memory")
    return Stored(dtype, shape, partial(_read, array, folder, name))


def _read(array: Any, folder: Path, name: str) -> np.ndarray:
    try:
        return np.asarray(array.read().result())
    except Exception as error:
        raise FormatError(folder, clip(name), f"its values could not be read: {clip(str(error))}") from None


def write_orbax(folder: Path, tensors: Mapping[str, Any]) -> None:
    """Write an orbax checkpoint that `StandardCheckpointer` restores as a pure dict of an albert_flax model.

    Args:
        folder: A folder that does not exist yet.
        tensors: Arrays by name, parts divided by "."; all are read before the first is written.

    Raises:
        BackendMissing: orbax-checkpoint is not installed.
    """
    orbax = require("orbax.checkpoint", "train")
    tree: dict[str, Any] = {}
    for name in tensors:
        *parts, leaf = name.split(".")
        node = tree
        for part in parts:
            node = node.setdefault(part, {})
        node[leaf] = np.ascontiguousarray(tensors[name])
    # zstd takes longer than the disk and saves less than a tenth: weights look random to it
    with orbax.PyTreeCheckpointer(use_compression=False) as checkpointer:
        checkpointer.save(folder.resolve(), tree)

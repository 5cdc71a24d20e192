"""tf_model.h5 of transformers 4's TensorFlow classes: one group per top-level layer, one dataset per variable.

Read with pyfive (see `albert_conversion.hdf5`), written with h5py. Source: `load_tf_weights_from_h5` of transformers
4.57, and Keras 2's `saving/legacy/hdf5_format.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from albert_conversion.extra import require
from albert_conversion.hdf5 import open_datasets
from albert_conversion.source import Source, sharded

__all__ = ["open_h5", "open_h5_index", "write_h5"]

_MAX_ATTRIBUTE = 64_000  # bytes of one attribute; HDF5 allows some more, and Keras splits what is longer
_BACKEND = {"backend": "tensorflow", "keras_version": "2.15.0"}  # what a file of Keras 2 says; its readers look at both


def open_h5(path: Path) -> Source:
    """Open one .h5 file; see `open_datasets` for what is refused."""
    file, datasets = open_datasets(path)
    return Source("h5", path, datasets, file.close)


def open_h5_index(index: Path) -> Source:
    """Open the shards that a `tf_model.h5.index.json` names; see `sharded`."""
    return sharded(index, open_h5, lambda name: name.partition("/")[2])


def write_h5(file: BinaryIO, tensors: Mapping[str, Any], head: str) -> None:
    """Write a .h5 file that transformers 4's TFAlbert classes open.

    Args:
        file: A seekable binary file.
        tensors: Arrays by variable name, such as "albert/pooler/kernel"; read one after the other.
        head: The class name, such as "AlbertModel", which is part of every path.
    """
    h5py = require("h5py")
    model = "tf_" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", head).lower()
    with h5py.File(file, "w") as target:
        layers: dict[str, list[str]] = {}
        for name in tensors:
            layers.setdefault(name.partition("/")[0], []).append(name)
        if (predictions := layers.get("predictions")) is not None:  # this layer holds the embeddings a second time
            predictions += [name for name in layers["albert"] if name.startswith("albert/embeddings/")]
        _attribute(target, "layer_names", list(layers))
        target.attrs.update(_BACKEND)
        for layer, names in layers.items():
            group = target.create_group(layer)
            paths = {name: f"{model}/{name}:0" for name in names}
            _attribute(group, "weight_names", list(paths.values()))
            for name, path in paths.items():
                if name.partition("/")[0] == layer:
                    group.create_dataset(path, data=np.ascontiguousarray(tensors[name]))
                else:
                    group[path] = target[f"albert/{path}"]  # the same bytes under another name
        _attribute(target.create_group("top_level_model_weights"), "weight_names", [])


def _attribute(group: Any, name: str, values: list[str]) -> None:
    """A list of names as Keras stores it: in pieces name0, name1, ... where one attribute is too small."""
    encoded = [value.encode() for value in values]
    width = max(map(len, encoded), default=1)
    per_piece = max(_MAX_ATTRIBUTE // width, 1)
    if len(encoded) <= per_piece:
        group.attrs[name] = np.array(encoded, f"S{width}")
        return
    for number, start in enumerate(range(0, len(encoded), per_piece)):
        group.attrs[f"{name}{number}"] = np.array(encoded[start : start + per_piece], f"S{width}")

"""Our own and transformers' safetensors as a source, sharded or not, of any of transformers 4's frameworks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from albert_conversion.source import Source, Stored
from albert_core.safetensors_file import open_safetensors
from albert_core.safetensors_io import Checkpoint, read_checkpoint
from albert_core.shard_index import INDEX_NAME

__all__ = ["open_safetensors_source"]

_SCHEMES = {"tf": "tf_h5", "flax": "flax"}  # the same names as in the h5 and msgpack files of these classes


def open_safetensors_source(path: Path) -> Source:
    """Open a safetensors file or an index; see `albert_core.safetensors_io` for what is refused."""
    if path.name == INDEX_NAME:
        checkpoint = read_checkpoint(path.parent)
    else:
        checkpoint = Checkpoint(path, {path.name: open_safetensors(path)})
    read: Any = checkpoint.__getitem__
    tensors: Mapping[str, Stored] = {
        name: Stored(checkpoint.dtype(name), checkpoint.shape(name), partial(read, name)) for name in checkpoint
    }
    scheme = _SCHEMES.get(checkpoint.layout)
    return Source("safetensors", path, tensors, checkpoint.close, checkpoint.integrity, scheme)

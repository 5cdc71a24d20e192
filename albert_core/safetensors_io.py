"""The weights of a checkpoint folder: `model.safetensors`, or an index with the shards that it names.

The names and the index are those of transformers, which opens the same folder. `open_safetensors` and
`save_safetensors` handle a single file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np

from albert_core.errors import NotFound
from albert_core.safetensors_file import Reader, open_safetensors, save_safetensors, tensor_facts
from albert_core.shard_files import replace_weights
from albert_core.shard_index import (
    INDEX_NAME,
    WEIGHTS_NAME,
    check_shards,
    read_index,
    variants_in,
    weight_names,
)

__all__ = [
    "INDEX_NAME",
    "MAX_SHARD_SIZE",
    "WEIGHTS_NAME",
    "Checkpoint",
    "open_safetensors",
    "read_checkpoint",
    "save_safetensors",
    "save_sharded",
    "split_into_shards",
]

MAX_SHARD_SIZE = "5GB"  # transformers' own until version 5
FOREIGN_WEIGHTS = ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "model.ckpt-best.index")
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class Checkpoint(Mapping[str, np.ndarray]):
    """The tensors of a checkpoint folder, read one by one when asked for; a context manager.

    Attributes:
        path: `model.safetensors` or the index.
        integrity: "verified" where the files carry digests, against which every read is checked; else "unverified".
        layout: Whose names and layouts its tensors have, by its own word: "pt", or "tf" or "flax" for those of
            transformers 4's other classes, which `albert_conversion` reads.
    """

    def __init__(self, path: Path, readers: Mapping[str, Reader]) -> None:
        self.path, self._readers = path, list(readers.values())
        self._reader_of = {name: reader for reader in self._readers for name in reader}
        verified = all(reader.integrity == "verified" for reader in self._readers)
        self.integrity = "verified" if verified else "unverified"
        self.layout = next((reader.metadata.get("format", "pt") for reader in self._readers), "pt")

    def __getitem__(self, name: str) -> np.ndarray:
        return self._reader_of[name].read(name)

    def __contains__(self, name: object) -> bool:
        return name in self._reader_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._reader_of)

    def __len__(self) -> int:
        return len(self._reader_of)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, known without reading it."""
        return self._reader_of[name][name].shape

    def dtype(self, name: str) -> np.dtype:
        """A tensor's dtype, known without reading it."""
        return self._reader_of[name][name].dtype

    def digest(self, name: str) -> str | None:
        """A tensor's sha256, known without reading it; None where its file carries no digests."""
        return self._reader_of[name].digest(name)

    def verify(self) -> str:
        """Read every tensor and drop it; returns `integrity`. See `Reader.verify`."""
        for reader in self._readers:
            reader.verify()
        return self.integrity

    def close(self) -> None:
        """Close all files; arrays that were read stay."""
        for reader in self._readers:
            reader.close()


def read_checkpoint(folder: str | Path, variant: str | None = None) -> Checkpoint:
    """Open the weights of a folder. All headers are checked now; tensors are read when asked for.

    Args:
        folder: Holds `model.safetensors`, which wins as in transformers, or `model.safetensors.index.json`.
        variant: "fp16" for `model.fp16.safetensors` and `model.safetensors.index.fp16.json`.

    Raises:
        NotFound: It holds neither.
        UnsafeContent: The index names a file outside of the folder; no file was opened.
        FormatError: The index or a file is malformed, or they contradict each other.
        MissingKeys: A shard, or a tensor that the index promises, is not there.
        ResourceLimit, IntegrityError: As `open_safetensors`.
    """
    folder = Path(folder)
    weights, index = (folder / name for name in weight_names(variant))
    if weights.exists():
        return Checkpoint(weights, {weights.name: open_safetensors(weights)})
    if not index.exists():
        raise _no_weights(folder, weights.name, index.name)
    weight_map = read_index(index)
    with ExitStack() as opened:
        shards = {
            name: opened.enter_context(open_safetensors(folder / name))
            for name in sorted(set(weight_map.values()))
            if (folder / name).exists()
        }
        check_shards(index, weight_map, shards)
        opened.pop_all()
    return Checkpoint(index, shards)


def _no_weights(folder: Path, *names: str) -> NotFound:
    foreign = [name for name in FOREIGN_WEIGHTS if (folder / name).exists()]
    reason = f"holds neither {' nor '.join(names)}" + (f", but {', '.join(foreign)}" if foreign else "")
    hint = f"convert it with `albert convert {folder} DEST`" if foreign else ""
    if variants := variants_in(folder):
        hint = " or ".join(f'variant="{variant}"' for variant in variants) + " is there"
    return NotFound(folder, None, reason if folder.is_dir() else "there is no such folder", hint)


def save_sharded(
    folder: str | Path, tensors: Mapping[str, np.ndarray], max_shard_size: int | str = MAX_SHARD_SIZE
) -> None:
    """Write the weights of a checkpoint into an existing folder.

    What fits into one file becomes `model.safetensors`; otherwise shards and their index. A checkpoint that is there
    already is replaced as a whole; see `replace_weights`.

    Args:
        folder: An existing folder, see `albert_core.atomic.write_folder`.
        tensors: Arrays by name.
        max_shard_size: Most bytes of tensors in one file, as a number or "500MB", "5GB", "2GiB". A tensor larger than
            this gets a file of its own.

    Raises:
        ValueError: `max_shard_size` is no size.
        FormatError: A name or dtype that the format cannot hold.
        SaveError: The system refused; the old checkpoint still loads and nothing of the new one stays.
    """
    folder = Path(folder)
    sizes = {name: math.prod(shape) * dtype.itemsize for name, (dtype, shape) in tensor_facts(tensors).items()}
    shards = split_into_shards(sizes, max_shard_size)

    def write(path: Path, names: Sequence[str]) -> None:
        save_safetensors(path, tensors if len(names) == len(sizes) else {name: tensors[name] for name in names})

    replace_weights(folder, WEIGHTS_NAME, shards, write, sum(sizes.values()))


def _bytes_of(size: int | str) -> int:
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size
    match = re.fullmatch(r"(\d+)\s*([A-Z]*)", size.strip().upper()) if isinstance(size, str) else None
    if match is None or match[2] not in _UNITS or int(match[1]) == 0:
        raise ValueError(f'max_shard_size: expected a size such as "5GB" or a number of bytes > 0, got {size!r}')
    return int(match[1]) * _UNITS[match[2]]


def split_into_shards(sizes: Mapping[str, int], max_shard_size: int | str) -> list[list[str]]:
    """Names in sorted order, filled into shards one after the other.

    Args:
        sizes: Bytes of each tensor by name.
        max_shard_size: As in `save_sharded`.

    Raises:
        ValueError: `max_shard_size` is no size.
    """
    limit, filled = _bytes_of(max_shard_size), 0
    shards: list[list[str]] = [[]]
    for name in sorted(sizes):
        if shards[-1] and filled + sizes[name] > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += sizes[name]
    return shards

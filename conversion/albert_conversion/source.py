"""A checkpoint of any format as a lazy mapping: names, shapes and dtypes now, values one by one when asked for.

It has the interface of `albert_core.safetensors_io.Checkpoint`. Names and layouts are the file's own;
`albert_conversion.plan` says what they mean.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np

from albert_core.errors import FormatError, NotFound
from albert_core.formats import FORMATS, Format
from albert_core.shard_index import check_shards, read_index
from albert_core.strict_json import clip

__all__ = ["Bytes", "Source", "Stored", "open_file", "sharded"]


@dataclass(frozen=True)
class Stored:
    """One tensor of a file.

    Attributes:
        dtype: NumPy's dtype, of any byte order.
        shape: Its shape in the file.
        read: Reads it into an array of its own.
        same_as: Equal for tensors that are the same bytes of the same file, so that a tie need not be read to be seen.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]
    same_as: Hashable = None


class Source(Mapping[str, np.ndarray]):
    """An open checkpoint; a context manager.

    Attributes:
        path: The file that was opened: the weights, their index, or the folder that is the checkpoint.
        format: What it is.
        scheme: How it names tensors, a key of `albert_core.foreign_names.SCHEMES`; its format's, unless told.
        integrity: "verified" where every read is held against a checksum that the format demands, else "unverified".
    """

    def __init__(
        self,
        format_name: str,
        path: Path,
        tensors: Mapping[str, Stored],
        close: Callable[[], object] = lambda: None,
        integrity: str = "unverified",
        scheme: str | None = None,
    ) -> None:
        self.format: Format = FORMATS[format_name]
        self.scheme = scheme or self.format.scheme
        self.path, self.tensors, self.close, self.integrity = path, dict(tensors), close, integrity

    def __getitem__(self, name: str) -> np.ndarray:
        return self.tensors[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, known without reading it."""
        return self.tensors[name].shape

    def dtype(self, name: str) -> np.dtype:
        """A tensor's dtype, known without reading it."""
        return self.tensors[name].dtype

    def same(self, name: str, copy: str) -> bool:
        """Whether two tensors hold the same values; those that are the same bytes of the file are not read for it."""
        place = self.tensors[name].same_as
        tied = place is not None and place == self.tensors[copy].same_as
        return tied or self[name].tobytes() == self[copy].tobytes()


class Bytes:
    """An open file that threads may share; reads are checked for length."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.path, self.file, self._lock = path, file, threading.Lock()
        self.size = os.fstat(file.fileno()).st_size
        self.close = file.close

    def read(self, offset: int, count: int, key: str | None = None) -> memoryview:
        """`count` bytes from `offset`, writable.

        Raises:
            FormatError: The file ends before.
        """
        if offset < 0 or count < 0 or offset + count > self.size:
            reason = f"expected {count} bytes at {offset}, the file has {self.size}: it is cut short or malformed"
            raise FormatError(self.path, key and clip(key), reason)
        data = np.empty(count, np.uint8).data
        done = 0
        with self._lock:
            self.file.seek(offset)
            while done < count:  # one call reads at most 2 GiB
                got = self.file.readinto(data[done:])  # type: ignore[attr-defined]
                if not got:
                    raise FormatError(self.path, key and clip(key), f"expected {count} bytes at {offset}, got {done}")
                done += got
        return data


def open_file(path: Path) -> Bytes:
    """Open a regular file.

    Raises:
        NotFound: There is none, or it may not be read.
        FormatError: It is a folder or a device.
    """
    if not path.exists():
        raise NotFound(path, None, "expected a file, there is none")
    if not path.is_file():  # opening a pipe would wait for ever
        raise FormatError(path, None, "expected a file, got a folder or a device")
    try:
        return Bytes(path.open("rb", buffering=0), path)  # type: ignore[arg-type]
    except OSError as error:
        raise NotFound(path, None, f"could not be opened: {error.strerror}") from error


def sharded(
    index: Path, open_one: Callable[[Path], Source], promised: Callable[[str], str] = lambda name: name
) -> Source:
    """The checkpoint whose index says which file of its folder holds which tensor.

    Args:
        index: A JSON file with a `weight_map`, as transformers writes it.
        open_one: Opens one shard.
        promised: From a name of the index to the name in the shard, where a format's differ.

    Raises:
        UnsafeContent: The index names a file outside of its folder; no file was opened.
        FormatError, MissingKeys: Index and shards contradict each other.
    """
    weight_map = {promised(name): shard for name, shard in read_index(index).items()}
    with ExitStack() as opened:
        shards = {
            name: opened.enter_context(open_one(index.parent / name))
            for name in sorted(set(weight_map.values()))
            if (index.parent / name).exists()
        }
        check_shards(index, weight_map, shards)
        tensors = {
            name: replace(stored, same_as=stored.same_as and (shard, stored.same_as))
            for shard, source in shards.items()
            for name, stored in source.tensors.items()
        }
        close = opened.pop_all().close
    first = next(iter(shards.values()))
    return Source(first.format.name, index, tensors, close, first.integrity)

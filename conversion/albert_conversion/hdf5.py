"""HDF5 files as Keras writes them: groups, hard links and contiguous datasets, nothing else.

libhdf5 crashes and hangs on crafted files, so the structure is read by pyfive, in Python, through a file that gives it
no more bytes than a model's structure needs; values are read by us from where the structure says.
Specification: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from albert_conversion.extra import require
from albert_conversion.source import Bytes, Stored, open_file
from albert_core.errors import CheckpointError, FormatError, ResourceLimit, UnsafeContent
from albert_core.sniff import looks_like
from albert_core.strict_json import clip

__all__ = ["MAGIC", "open_datasets"]

MAGIC = b"\x89HDF\r\n\x1a\n"
_MAX_STRUCTURE = 256_000_000  # bytes of structure that may be read; a file of ours has some 100 kB
_MAX_READS = 1_000_000
_MAX_OBJECTS = 20_000  # groups and datasets
_MAX_DEPTH = 64
_UNDEFINED = 2**64 - 1  # the address of what is not in the file
_COMPACT, _CONTIGUOUS, _CHUNKED = 0, 1, 2


class _Metered:
    """The file as pyfive sees it: reading is bounded by the file's end and by a budget."""

    def __init__(self, file: Bytes) -> None:
        self._file, self._at = file, 0
        self._reads, self._bytes = _MAX_READS, _MAX_STRUCTURE

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._file.size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, count: int = -1) -> bytes:
        left = max(self._file.size - self._at, 0)
        count = left if count is None or count < 0 else min(count, left)
        self._reads -= 1
        self._bytes -= count
        if self._reads < 0 or self._bytes < 0:
            raise ResourceLimit(self._file.path, None, "the file's structure is larger than that of any model")
        data = bytes(self._file.read(self._at, count)) if count else b""
        self._at += count
        return data

    def close(self) -> None:
        """The file is closed by who opened it."""


def open_datasets(path: Path) -> tuple[Bytes, dict[str, Stored]]:
    """Open an HDF5 file and find its datasets, by path.

    Raises:
        NotFound: There is no such file.
        BackendMissing: pyfive is not installed.
        UnsafeContent: A soft or external link, or a dataset whose values are in another file.
        FormatError: It is no HDF5, or a malformed one, or holds what no model's file does.
        ResourceLimit: Its structure is too large or too deep.
    """
    file = open_file(path)
    try:
        head = bytes(file.read(0, min(file.size, 100)))
        if not head.startswith(MAGIC):
            found = looks_like(head)
            what = found[0] if found else f"a file that begins with {head[:16]!r}"
            raise FormatError(path, None, f"expected HDF5, got {what}", found[1] if found else "")
        return file, dict(_datasets(file, path))
    except BaseException:
        file.close()
        raise


def _datasets(file: Bytes, path: Path) -> Iterator[tuple[str, Stored]]:
    pyfive = require("pyfive")
    try:
        root = pyfive.File(_Metered(file))
        if root.userblock_size:
            raise FormatError(path, None, "expected HDF5 from the first byte, got a user block")
        yield from _walk(pyfive, root, file, path)
    except CheckpointError:
        raise
    except Exception as error:  # whatever a crafted structure brings pyfive to: it is pure Python
        raise FormatError(path, None, f"the HDF5 structure is malformed: {clip(repr(error))}") from None


def _walk(pyfive: Any, root: Any, file: Bytes, path: Path) -> Iterator[tuple[str, Stored]]:
    waiting, objects, seen = [("", root)], 0, {root._dataobjects.offset}
    while waiting:
        prefix, group = waiting.pop()
        if prefix.count("/") > _MAX_DEPTH:
            raise ResourceLimit(path, clip(prefix), f"expected at most {_MAX_DEPTH} groups in each other")
        for name in group:
            objects += 1
            if objects > _MAX_OBJECTS:
                raise ResourceLimit(path, clip(prefix), f"expected at most {_MAX_OBJECTS} objects")
            where = f"{prefix}/{name}".lstrip("/")
            member = _member(group, name, path, where)
            if isinstance(member, pyfive.Dataset):
                yield where, _stored(member, file, path, where)
            elif isinstance(member, pyfive.Group):
                if member._dataobjects.offset in seen:  # a cycle, or ever more paths to one place
                    raise FormatError(path, clip(where), "expected a tree of groups, got one group under two names")
                seen.add(member._dataobjects.offset)
                waiting.append((where, member))
            else:
                raise FormatError(path, clip(where), "expected a group or a dataset, got another object")


def _member(group: Any, name: str, path: Path, where: str) -> Any:
    if not name or "/" in name or name == ".":
        raise FormatError(path, clip(where), f"expected a name without '/', got {clip(name)!r}")
    if isinstance(group._links[name], str):  # pyfive follows it; its target could be anything
        raise UnsafeContent(path, clip(where), f"expected an object, got a soft link to {clip(group._links[name])!r}")
    try:
        return group.get_lazy_view(name)
    except AssertionError:
        reason = "expected groups with plain links, got an external or malformed one; nothing was opened"
        raise UnsafeContent(path, clip(where), reason) from None


def _stored(dataset: Any, file: Bytes, path: Path, where: str) -> Stored:
    dtype, shape, key = _dtype(dataset, path, where), tuple(map(int, dataset.shape)), clip(where)
    nbytes = math.prod(shape) * dtype.itemsize
    if math.prod(d for d in shape if d) >= 2**60:
        raise ResourceLimit(path, key, f"declares the shape {list(shape)}, beyond any memory")
    kind = dataset.id.layout_class
    if nbytes == 0:
        return Stored(dtype, shape, lambda: np.empty(shape, dtype))
    if kind == _COMPACT:
        return Stored(dtype, shape, lambda: np.array(dataset[...], dtype).reshape(shape))
    if kind == _CHUNKED:
        hint = "write it again without chunks: h5repack -l CONTI -f NONE OLD NEW"
        raise FormatError(path, key, "expected values in one piece, as Keras writes them, got chunks", hint)
    if kind != _CONTIGUOUS or dataset.id.data_offset == _UNDEFINED:
        raise UnsafeContent(path, key, "expected values in this file, got a virtual, external or empty dataset")
    offset = int(dataset.id.data_offset)
    if offset + nbytes > file.size:
        raise FormatError(path, key, f"expected {nbytes} bytes at {offset}, the file has {file.size}")
    return Stored(dtype, shape, partial(_read, file, offset, nbytes, dtype, shape, key), offset)


def _dtype(dataset: Any, path: Path, where: str) -> np.dtype:
    """The dataset's dtype; Keras stores bfloat16 as two opaque bytes and says so in an attribute."""
    dtype = np.dtype(dataset.dtype)
    if dtype.kind in "fiub":
        return dtype
    if dtype.itemsize == 2 and dataset.attrs.get("dtype") in ("bfloat16", b"bfloat16"):
        return np.dtype(ml_dtypes.bfloat16)
    raise FormatError(path, clip(where), f"expected a dataset of numbers, got {clip(str(dtype))}")


def _read(file: Bytes, offset: int, nbytes: int, dtype: np.dtype, shape: tuple[int, ...], key: str) -> np.ndarray:
    return (
        np.frombuffer(file.read(offset, nbytes, key), dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
    )

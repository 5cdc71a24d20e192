"""The header of a safetensors file: 8 bytes of length, JSON, then the tensors' bytes without a gap.

Reads more strictly than the reference reader (which accepts repeated keys and unknown fields) and writes one exact
header for one set of tensors. Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from albert_core.errors import FormatError, ResourceLimit
from albert_core.sniff import looks_like
from albert_core.strict_json import clip, parse_object

__all__ = ["DIGESTS", "Header", "TensorInfo", "dtype_name", "encode_header", "layout", "read_header"]

MAX_HEADER = 100_000_000  # bytes, the format's own limit
DIGESTS = "albert_sha256"  # the metadata key under which this project writes every tensor's sha256
_METADATA = "__metadata__"
_LENGTH = 8  # bytes that hold the header's length; the header is padded to a multiple of it
_MAX_DIMENSIONS = 64  # NumPy's limit
_FIELDS = {"dtype", "shape", "data_offsets"}

_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
    "C64": np.dtype("<c8"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies.

    Attributes:
        dtype: NumPy's dtype, little-endian; bfloat16 is ml_dtypes'.
        shape: Its dimensions.
        offsets: First byte and the one after the last, from the end of the header.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    offsets: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.offsets[1] - self.offsets[0]


@dataclass(frozen=True, slots=True)
class Header:
    """A checked header.

    Attributes:
        tensors: Every tensor by name, in the order of their bytes.
        metadata: The file's own notes.
        data_start: Where the tensors' bytes begin in the file.
    """

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    data_start: int


def dtype_name(dtype: np.dtype) -> str | None:
    """The format's name of a dtype of any byte order; None where it has none."""
    return _NAMES.get(dtype.newbyteorder("<"))


def read_header(file: BinaryIO, size: int, path: str | Path) -> Header:
    """Read and check the header of an open file.

    Args:
        file: The file, at its beginning.
        size: The whole file's size in bytes.
        path: Its name, for errors.

    Raises:
        FormatError: Any deviation from the format; names the key, the offsets and the sizes, and what the file looks
            like where it is something else.
        ResourceLimit: It declares a header beyond the format's limit, or a tensor beyond the address space.
    """
    fields = parse_object(_header_bytes(file, size, path), path, "safetensors header")
    metadata = _metadata(fields.pop(_METADATA, {}), path)
    tensors = {name: _tensor(name, entry, path) for name, entry in fields.items()}
    data_start = file.tell()
    return Header(_contiguous(tensors, size - data_start, path), metadata, data_start)


def _header_bytes(file: BinaryIO, size: int, path: str | Path) -> bytes:
    prefix = file.read(_LENGTH)
    length = int.from_bytes(prefix, "little")
    if size == 0:
        raise FormatError(path, None, "expected a safetensors file, got an empty file", "download or save it again")
    if size < _LENGTH + 2 or length > min(size - _LENGTH, MAX_HEADER):
        raise _no_header(prefix + file.read(64), size, length, path)
    data = file.read(length)
    if len(data) != length:
        raise FormatError(path, None, f"expected {length} header bytes, the file ended after {len(data)}")
    if not data.startswith(b"{") or not data.rstrip(b" ").endswith(b"}"):
        raise _no_header(prefix + data[:64], size, length, path)
    return data


def _no_header(head: bytes, size: int, length: int, path: str | Path) -> FormatError | ResourceLimit:
    """What to raise where there is no header: what the file looks like is worth more than what it is not."""
    if (found := looks_like(head)) is not None:
        return FormatError(path, None, f"expected a safetensors file, got {found[0]}", found[1])
    if size < _LENGTH + 2:
        return FormatError(path, None, f"expected a safetensors file of at least {_LENGTH + 2} bytes, got {size}")
    if length > MAX_HEADER:
        return ResourceLimit(path, None, f"declares a header of {length} bytes, the format allows {MAX_HEADER}")
    if length > size - _LENGTH:
        return FormatError(path, None, f"declares a header of {length} bytes, the whole file has {size}")
    return FormatError(path, None, f"expected a header from '{{' to '}}', got one that begins with {head[8:24]!r}")


def _metadata(entry: Any, path: str | Path) -> dict[str, str]:
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise FormatError(path, _METADATA, f"expected a map of strings, got {clip(repr(entry))}")
    return entry


def _tensor(name: str, entry: Any, path: str | Path) -> TensorInfo:
    def refuse(reason: str) -> FormatError:
        return FormatError(path, clip(name), reason)

    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise refuse(f"expected the fields dtype, shape and data_offsets, got {clip(repr(entry))}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise refuse(f"expected a dtype of {', '.join(_DTYPES)}, got {clip(repr(dtype))}")
    if not _are_sizes(shape) or len(shape) > _MAX_DIMENSIONS:
        raise refuse(f"expected a shape of at most {_MAX_DIMENSIONS} whole numbers >= 0, got {clip(repr(shape))}")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise refuse(f"expected data_offsets [begin, end] with 0 <= begin <= end, got {clip(repr(offsets))}")
    itemsize = _DTYPES[dtype].itemsize
    if math.prod(d for d in shape if d) * itemsize >= 2**63:  # NumPy leaves zeros out of its own limit too
        raise ResourceLimit(path, clip(name), f"declares the shape {clip(repr(shape))}, beyond any address space")
    nbytes = math.prod(shape) * itemsize
    if offsets[1] - offsets[0] != nbytes:
        raise refuse(f"expected {nbytes} bytes for {dtype} {clip(repr(shape))}, got data_offsets {offsets}")
    return TensorInfo(_DTYPES[dtype], tuple(shape), (offsets[0], offsets[1]))


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(d) is int and 0 <= d < 2**63 for d in value)


def _contiguous(tensors: dict[str, TensorInfo], size: int, path: str | Path) -> dict[str, TensorInfo]:
    """The tensors in the order of their bytes, which must fill the data section exactly: no hole hides anything."""
    ordered = dict(sorted(tensors.items(), key=lambda item: (item[1].offsets, item[0])))
    end = 0
    for name, info in ordered.items():
        if info.offsets[0] != end:
            fault = "overlaps the tensor before it" if info.offsets[0] < end else "leaves a hole before it"
            raise FormatError(path, clip(name), f"expected data_offsets from {end}, got {list(info.offsets)}: {fault}")
        end = info.offsets[1]
    if end != size:
        fault = "the file is cut short" if size < end else "there are trailing bytes"
        last = clip(next(reversed(ordered), "")) or None
        raise FormatError(path, last, f"expected {end} bytes of tensors, got {size}: {fault}")
    return ordered


def layout(tensors: Mapping[str, tuple[np.dtype, tuple[int, ...]]], path: str | Path) -> dict[str, TensorInfo]:
    """Give every tensor its place: widest dtype first, so that all stay aligned, then by name.

    Args:
        tensors: dtype and shape by name.
        path: The file to be written, for errors.

    Raises:
        FormatError: A name or a dtype that the format cannot hold.
    """
    placed, end = {}, 0
    for name, (dtype, shape) in sorted(tensors.items(), key=lambda item: (-item[1][0].itemsize, item[0])):
        stored = dtype_name(dtype)
        if name == _METADATA:
            raise FormatError(path, name, "expected a tensor's name, got the one reserved for metadata")
        if stored is None:
            raise FormatError(path, clip(name), f"expected a dtype of {', '.join(_DTYPES)}, got {dtype}")
        start, end = end, end + math.prod(shape) * dtype.itemsize
        placed[name] = TensorInfo(_DTYPES[stored], tuple(shape), (start, end))
    return placed


def encode_header(tensors: Mapping[str, TensorInfo], metadata: Mapping[str, str]) -> bytes:
    """The length and the header as bytes: one set of tensors and metadata has one spelling, keys sorted."""
    fields: dict[str, Any] = {
        name: {"dtype": _NAMES[info.dtype], "shape": list(info.shape), "data_offsets": list(info.offsets)}
        for name, info in tensors.items()
    }
    fields[_METADATA] = dict(metadata)
    text = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)
    return len(text).to_bytes(_LENGTH, "little") + text

"""MessagePack as Flax writes it: nested maps of names to arrays, byte for byte as its own packer does.

Sources: https://github.com/msgpack/msgpack/blob/master/spec.md and flax/serialization.py of
https://github.com/google/flax.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from albert_core.dtypes import DTYPES
from albert_core.errors import FormatError, ResourceLimit
from albert_core.strict_json import clip

__all__ = ["ARRAY_DTYPES", "ARRAY_TYPE", "write_msgpack"]

ARRAY_TYPE = 1  # Flax's extension type of an array
_MAX_EXT = 2**32 - 1  # bytes of one extension

ARRAY_DTYPES = DTYPES | {
    name: np.dtype(name) for name in "int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool".split()
}


def write_msgpack(file: BinaryIO, tensors: Mapping[str, Any]) -> None:
    """Write a .msgpack file that `flax.serialization.msgpack_restore` opens.

    Args:
        file: A binary file.
        tensors: Arrays by name, parts divided by "/"; read one after the other.

    Raises:
        FormatError: A dtype that the format cannot hold.
        ResourceLimit: A tensor of 4 GiB or more, which one extension cannot hold.
    """
    tree: dict[str, Any] = {}
    for name in tensors:
        *folders, leaf = name.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = name
    for piece in _packed(tree, tensors):
        file.write(piece)


def _packed(node: dict[str, Any], tensors: Mapping[str, Any]) -> Iterator[bytes | memoryview]:
    yield _head(len(node), 0x80, 16, (None, 0xDE, 0xDF))
    for part, value in node.items():
        yield _packed_text(part)
        if isinstance(value, dict):
            yield from _packed(value, tensors)
        else:
            yield from _packed_array(value, tensors)


def _packed_array(name: str, tensors: Mapping[str, Any]) -> Iterator[bytes | memoryview]:
    array = np.asarray(tensors[name])
    dtype = array.dtype.newbyteorder("<")
    if ARRAY_DTYPES.get(dtype.name) is None:
        raise FormatError("", clip(name), f"expected a dtype of {', '.join(ARRAY_DTYPES)}, got {array.dtype}")
    shape = _head(array.ndim, 0x90, 16, (None, 0xDC, 0xDD)) + b"".join(map(_packed_size, array.shape))
    head = b"\x93" + shape + _packed_text(dtype.name) + _head(array.nbytes, None, 0, (0xC4, 0xC5, 0xC6))
    length = len(head) + array.nbytes
    if length > _MAX_EXT:
        raise ResourceLimit("", clip(name), f"expected a tensor of less than {_MAX_EXT} bytes, got {array.nbytes}")
    if length in (1, 2, 4, 8, 16):
        yield bytes([0xD4 + length.bit_length() - 1, ARRAY_TYPE])
    else:
        yield _head(length, None, 0, (0xC7, 0xC8, 0xC9)) + bytes([ARRAY_TYPE])
    yield head
    yield np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8).data


def _head(count: int, short: int | None, limit: int, codes: tuple[int | None, int, int]) -> bytes:
    """The type byte and length in the shortest form that holds it, as msgpack's own packer writes it."""
    if short is not None and count < limit:
        return bytes([short | count])
    for code, width, letter in zip(codes, (1, 2, 4), "BHI", strict=True):
        if code is not None and count < 1 << (8 * width):
            return struct.pack(f">B{letter}", code, count)
    raise ResourceLimit("", None, f"expected a length of at most 4 GiB, got {count}")


def _packed_text(text: str) -> bytes:
    data = text.encode()
    return _head(len(data), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + data


def _packed_size(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    width = next(w for w in (1, 2, 4, 8) if size < 1 << (8 * w))
    return bytes([0xCC + width.bit_length() - 1]) + size.to_bytes(width, "big")

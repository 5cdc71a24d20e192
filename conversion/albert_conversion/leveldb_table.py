"""LevelDB's sorted table, the container of a TensorFlow checkpoint's index.

Blocks of keys and values, each with a checksum, and a footer that says where the block of blocks is.
Source: https://github.com/google/leveldb/blob/main/doc/table_format.md and tensorflow/core/lib/io/table_builder.cc.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from albert_conversion.extra import require
from albert_core.errors import FormatError, IntegrityError
from albert_core.protobuf import Malformed, encode_varint, varint

__all__ = ["MAGIC", "encode_table", "masked_crc32c", "read_table"]

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER, _TRAILER = 48, 5  # bytes
_BLOCK = 4096  # bytes after which a writer begins a new block
_RESTART = 16  # entries from one key in full to the next
_SNAPPY = 1


def masked_crc32c(data: bytes | np.ndarray) -> int:
    """LevelDB's checksum: a crc32c, rotated and shifted so that a checksum of checksums stays useful."""
    crc = require("google_crc32c").value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_table(data: bytes, path: Path) -> dict[bytes, bytes]:
    """Every key and value of a table.

    Raises:
        FormatError: It is no table, or a malformed one.
        IntegrityError: A block is not the one its checksum was made of.
    """
    if len(data) < _FOOTER or data[-8:] != MAGIC:
        reason = f"expected a checkpoint's index with its magic number at the end, got {data[-8:]!r}"
        raise FormatError(path, None, reason)
    try:
        _, at = _handle(data, len(data) - _FOOTER)  # of the block of filters, which TensorFlow leaves empty
        (start, size), _ = _handle(data, at)
        found: dict[bytes, bytes] = {}
        for _, value in _entries(_block(data, start, size, path)):
            for key, content in _entries(_block(data, *_handle(value, 0)[0], path)):
                if key in found:
                    raise Malformed(f"the key {key[:200]!r} stands there twice")
                found[key] = content
        return found
    except Malformed as error:
        raise FormatError(path, None, f"the index is malformed: {error}") from None


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    start, at = varint(data, at)
    size, at = varint(data, at)
    return (start, size), at


def _block(data: bytes, start: int, size: int, path: Path) -> bytes:
    end = start + size
    if end + _TRAILER > len(data):
        raise Malformed("a block reaches beyond the file")
    want = int.from_bytes(data[end + 1 : end + _TRAILER], "little")
    if (got := masked_crc32c(data[start : end + 1])) != want:
        reason = f"expected the crc32c {want:08x} of the block at {start}, got {got:08x}"
        raise IntegrityError(path, None, reason, "the file changed after it was written")
    if data[end]:
        what = "Snappy" if data[end] == _SNAPPY else f"type {data[end]}"
        raise FormatError(path, None, f"expected blocks without compression, as TensorFlow writes them, got {what}")
    return data[start:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(block) < 4:
        raise Malformed("a block is cut short")
    end = len(block) - 4 * (int.from_bytes(block[-4:], "little") + 1)
    if end < 0:
        raise Malformed("a block has more restarts than bytes")
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or at + own + length > end:
            raise Malformed("an entry reaches beyond its block")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


# -- writing -------------------------------------------------------------------------------------------------------


def encode_table(values: Mapping[bytes, bytes]) -> bytes:
    """A table as bytes; equal values give equal bytes."""
    table, index = bytearray(), {}
    for keys in _split(values):
        handle = _append(table, _encode_block({key: values[key] for key in keys}))
        index[keys[-1]] = handle
    filters = _append(table, _encode_block({}))
    blocks = _append(table, _encode_block(index))
    return bytes(table) + (filters + blocks).ljust(_FOOTER - len(MAGIC), b"\0") + MAGIC


def _split(values: Mapping[bytes, bytes]) -> Iterator[list[bytes]]:
    keys: list[bytes] = []
    size = 0
    for key in sorted(values):
        keys.append(key)
        size += len(key) + len(values[key])
        if size > _BLOCK:
            yield keys
            keys, size = [], 0
    if keys:
        yield keys


def _append(table: bytearray, block: bytes) -> bytes:
    handle = encode_varint(len(table)) + encode_varint(len(block))
    table += block + b"\0" + struct.pack("<I", masked_crc32c(block + b"\0"))
    return handle


def _encode_block(entries: Mapping[bytes, bytes]) -> bytes:
    block, restarts, previous = bytearray(), [0], b""
    for number, (key, value) in enumerate(entries.items()):
        if number and number % _RESTART == 0:
            restarts.append(len(block))
            previous = b""
        shared = next(
            (i for i, (a, b) in enumerate(zip(previous, key, strict=False)) if a != b), min(len(previous), len(key))
        )
        block += b"".join(map(encode_varint, (shared, len(key) - shared, len(value)))) + key[shared:] + value
        previous = key
    return bytes(block) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
